"""Plugins that each break one rule, for the tests of what is to find that."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

from bridges.backends.cpu import CPUContext
from xma_plugins.conformance import Rule
from xma_plugins.errors import XmaError
from xma_plugins.frames import BufferRef, XmaFrame
from xma_plugins.plugin import DecoderPlugin, EncoderPlugin, KernelPlugin, ScalerPlugin
from xma_plugins.skeleton import PassThrough
from xma_plugins.status import Status

BROKEN = []
"""Each class below, the rule that it breaks, and the first scenario that shows it."""

RELEASED = threading.Event()
"""Lets those go on that hang."""

VERSION = (2020, 1)


def breaks(rule, scenario="stream"):
    def note(plugin):
        BROKEN.append((plugin, rule, scenario))
        return plugin

    return note


@breaks(Rule.STATUS)
class EndsInTheMiddle(PassThrough):
    def recv_frame(self, session, frame):
        status = super().recv_frame(session, frame)
        return Status.EOS if status is Status.TRY_AGAIN else status


@breaks(Rule.STATUS)
class WantsMoreAtTheEnd(PassThrough):
    def send_frame(self, session, frame):
        status = super().send_frame(session, frame)
        return Status.SEND_MORE_DATA if frame.is_last_frame else status


@breaks(Rule.STATUS)
class AnswersNothing(PassThrough):
    def send_frame(self, session, frame):
        super().send_frame(session, frame)


@breaks(Rule.BOTH_SIDES, "storm")
class NeitherTakesNorGives(PassThrough):
    """Waits for those who hold its results, and has nothing to give meanwhile."""

    def init(self, session):
        super().init(session)
        self.given = []

    def send_frame(self, session, frame):
        self.given = [each for each in self.given if not each.is_dummy and each.planes]
        if len(self.given) > 2 and not frame.is_last_frame:
            return Status.TRY_AGAIN
        return super().send_frame(session, frame)

    def recv_frame(self, session, frame):
        if len(self.given) > 2 and not self.is_ending:
            self.given.clear()
            return Status.TRY_AGAIN
        status = super().recv_frame(session, frame)
        if status is Status.SUCCESS:
            self.given.append(frame)
        return status


@breaks(Rule.FILLED)
class LeavesTheDummy(PassThrough):
    def recv_frame(self, session, frame):
        if not self.frames:
            return super().recv_frame(session, frame)
        self.frames.popleft().close()
        return Status.SUCCESS


@breaks(Rule.COUNT)
class LosesTheThird(PassThrough):
    def init(self, session):
        super().init(session)
        self.count = 0

    def send_frame(self, session, frame):
        status = super().send_frame(session, frame)
        if status in (Status.SUCCESS, Status.SEND_MORE_DATA) and not frame.is_last_frame:
            self.count += 1
            if self.count == 3:
                self.frames.pop().close()
                return Status.SUCCESS if self.frames else Status.SEND_MORE_DATA
        return status


@breaks(Rule.COUNT)
class GivesTwice(PassThrough):
    def init(self, session):
        super().init(session)
        self.depth = 8

    def send_frame(self, session, frame):
        status = super().send_frame(session, frame)
        if not frame.is_last_frame and len(self.frames) == 1:
            self.frames.append(frame.reference())
        return status


@breaks(Rule.COUNT)
class NeverDrainsTheLast(EncoderPlugin):
    """Gives data of a picture once the next is there: the flaw of the original's sample."""

    xma_version = VERSION

    def init(self, session):
        self.times = deque()
        self.is_ending = False

    def send_frame(self, session, frame):
        if frame.is_last_frame:
            self.is_ending = True
            return Status.SUCCESS
        self.times.append(frame.pts)
        return Status.SUCCESS if len(self.times) > 1 else Status.SEND_MORE_DATA

    def recv_data(self, session, data):
        if len(self.times) < 2:
            return Status.EOS if self.is_ending else Status.TRY_AGAIN
        data.data, data.pts = b"coded", self.times.popleft()
        return Status.SUCCESS


@breaks(Rule.TIME)
class CutsTimesTo32Bits(PassThrough):
    def recv_frame(self, session, frame):
        status = super().recv_frame(session, frame)
        if status is Status.SUCCESS:
            frame.pts &= 0xFFFFFFFF
        return status


@breaks(Rule.TIME)
class ReversesPairs(PassThrough):
    def send_frame(self, session, frame):
        status = super().send_frame(session, frame)
        if status is Status.SUCCESS and not frame.is_last_frame:
            self.frames.reverse()
        return status


@breaks(Rule.SIDE_DATA)
class DropsSideData(PassThrough):
    def recv_frame(self, session, frame):
        status = super().recv_frame(session, frame)
        frame.clear_side_data()
        return status


class _Counts(DecoderPlugin):
    """Gives a picture that is all of one value for each packet."""

    xma_version = VERSION

    def init(self, session):
        self.packets = deque()
        self.is_ending = False

    def send_data(self, session, data):
        if data.is_eof:
            self.is_ending = True
            return Status.SUCCESS, 0
        self.packets.append((bytes(data.data), data.pts))
        return Status.SUCCESS, len(bytes(data.data))

    def get_properties(self, session):
        return None

    def recv_frame(self, session, frame):
        if not self.packets:
            return Status.EOS if self.is_ending else Status.TRY_AGAIN
        from tests.xma_plugins.pictures import gray

        _, pts = self.packets.popleft()
        with gray(4, 4, pts) as made:
            frame.take(made) if frame.is_dummy else frame.copy_from(made)
        return Status.SUCCESS


class TakesPacketsApart(_Counts):
    """Breaks no rule: takes one byte more each time, and the packet is done with its last."""

    def send_data(self, session, data):
        if not data.is_eof and len(bytes(data.data)) > 1:
            return Status.SEND_MORE_DATA, 1
        return super().send_data(session, data)


@breaks(Rule.BYTES_TAKEN)
class TakesMoreThanThereIs(_Counts):
    def send_data(self, session, data):
        status, used = super().send_data(session, data)
        return status, used + 1


@breaks(Rule.BYTES_TAKEN)
class TakesNothing(_Counts):
    def send_data(self, session, data):
        return super().send_data(session, data)[0], 0


@breaks(Rule.STATUS)
class ForgetsHowMany(_Counts):
    def send_data(self, session, data):
        return super().send_data(session, data)[0]


@breaks(Rule.END)
class FlushesWithoutEnd(PassThrough):
    def send_frame(self, session, frame):
        status = super().send_frame(session, frame)
        return Status.FLUSH_AGAIN if frame.is_last_frame else status

    def recv_frame(self, session, frame):
        status = super().recv_frame(session, frame)
        return Status.TRY_AGAIN if status is Status.EOS else status


@breaks(Rule.END)
class WaitsWithoutEnd(PassThrough):
    def recv_frame(self, session, frame):
        status = super().recv_frame(session, frame)
        return Status.TRY_AGAIN if status is Status.EOS else status


@breaks(Rule.END)
class ResendsWithoutEnd(PassThrough):
    def send_frame(self, session, frame):
        return Status.RESEND_AND_RECV

    def recv_frame(self, session, frame):
        return Status.TRY_AGAIN


@breaks(Rule.HANG)
class Hangs(PassThrough):
    def recv_frame(self, session, frame):
        RELEASED.wait()
        return super().recv_frame(session, frame)


@breaks(Rule.REFERENCE)
class HoldsNoReference(PassThrough):
    def send_frame(self, session, frame):
        if frame.is_last_frame or len(self.frames) == self.depth:
            return super().send_frame(session, frame)
        self.frames.append(frame)
        return Status.SUCCESS if len(self.frames) == self.depth else Status.SEND_MORE_DATA


@breaks(Rule.RELEASE)
class ReleasesTwice(PassThrough):
    def recv_frame(self, session, frame):
        if not self.frames:
            return super().recv_frame(session, frame)
        status = super().recv_frame(session, frame)
        for plane in frame.planes:
            plane.release()
        return status


@breaks(Rule.RELEASE)
class ClosesItsSendersPicture(PassThrough):
    def send_frame(self, session, frame):
        status = super().send_frame(session, frame)
        if not frame.is_last_frame:
            frame.close()
        return status


@breaks(Rule.RELEASE)
class FreesABufferTwice(PassThrough):
    def init(self, session):
        super().init(session)
        self.buffer = session.buffer_alloc(16)

    def close(self, session):
        super().close(session)
        buffer = getattr(self, "buffer", None)
        if buffer is not None:
            session.buffer_free(buffer)
            session.buffer_free(buffer)


@breaks(Rule.PLANES)
class KeepsAPicture(PassThrough):
    def send_frame(self, session, frame):
        if not frame.is_last_frame:
            self.kept = frame.reference()
        return super().send_frame(session, frame)


@breaks(Rule.BUFFERS)
class FreesNothing(PassThrough):
    def init(self, session):
        super().init(session)
        session.buffer_alloc(16)


@breaks(Rule.BUFFERS)
class AllocatesBehindTheSession(PassThrough):
    def init(self, session):
        super().init(session)
        session.device.allocate(16, holder="nobody's session")


@breaks(Rule.SAME_RESULT, "open")
class KeepsTheMemoryAlone(PassThrough):
    """Holds samples by their arrays, which are used for something else after the call."""

    def send_frame(self, session, frame):
        if frame.is_last_frame or len(self.frames) == self.depth:
            return super().send_frame(session, frame)
        arrays = [plane.tensor.handle("array") for plane in frame.planes] if _is_host(frame) else []
        if not arrays:
            return super().send_frame(session, frame)
        refs = [BufferRef(CPUContext().wrap(array)) for array in arrays]
        held = XmaFrame(frame.info, refs)
        held.describe_as(frame)
        self.frames.append(held)
        return Status.SUCCESS if len(self.frames) == self.depth else Status.SEND_MORE_DATA


@breaks(Rule.SAME_RESULT, "two")
class KnowsOfOtherSessions(PassThrough):
    """Inverts pictures while another session is open."""

    count = 0

    def init(self, session):
        super().init(session)
        type(self).__mro__[1].count += 1

    def send_frame(self, session, frame):
        status = super().send_frame(session, frame)
        taken = status in (Status.SUCCESS, Status.SEND_MORE_DATA) and not frame.is_last_frame
        if taken and KnowsOfOtherSessions.count > 1:
            array = frame.planes[0].tensor.handle("array")
            np.invert(array, out=array)
        return status

    def close(self, session):
        super().close(session)
        KnowsOfOtherSessions.count -= 1


@breaks(Rule.ERRORS)
class RaisesWhatNobodyKnows(PassThrough):
    def recv_frame(self, session, frame):
        raise TypeError("what a plugin's author never saw")


@breaks(Rule.ERRORS, "init")
class ClosesOnlyWhatIsWhole(PassThrough):
    def init(self, session):
        super().init(session)
        buffer = session.buffer_alloc(16)
        self.buffer = buffer

    def close(self, session):
        super().close(session)
        session.buffer_free(self.buffer)


@breaks(Rule.ERRORS, "written")
class ReadsWhatNobodyWrote(KernelPlugin):
    xma_version = VERSION

    def write(self, session, parameters):
        pass

    def read(self, session):
        return self.parameters


@breaks(Rule.STATUS, "written")
class ReadsNoMapping(KernelPlugin):
    xma_version = VERSION

    def write(self, session, parameters):
        pass

    def read(self, session):
        return 3


@breaks(Rule.LEGAL_CALLS)
class FailsOnTheThird(PassThrough):
    def init(self, session):
        super().init(session)
        self.count = 0

    def send_frame(self, session, frame):
        self.count += 1
        if self.count == 3:
            raise XmaError("the third one is too much")
        return super().send_frame(session, frame)


@breaks(Rule.FILLED)
class LeavesAnOutput(ScalerPlugin):
    """Gives its first output alone."""

    xma_version = VERSION

    def init(self, session):
        self.frame = None

    def send_frame(self, session, frame):
        if frame.is_last_frame:
            return Status.EOS
        self.frame = frame.reference()
        return Status.SUCCESS

    def recv_frame_list(self, session, frames):
        if self.frame is None:
            return Status.TRY_AGAIN
        frames[0].take(self.frame)
        self.frame = None
        return Status.SUCCESS

    def close(self, session):
        if getattr(self, "frame", None) is not None:
            self.frame.close()


def _is_host(frame):
    return all(plane.buffer is None for plane in frame.planes)
