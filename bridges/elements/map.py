"""map: the same samples, seen through another kind of memory."""

from collections.abc import Sequence

from bridges.backends.cpu import CPUContext
from bridges.context import Context
from bridges.element import ElementDescription, ParameterDescription, Transform
from bridges.errors import ElementError, NoRouteError
from bridges.frame import MediaFrame
from bridges.mapper import MemoryMapper, create_mapper
from bridges.media import MediaType
from bridges.tensor import AccessMode, MemoryType
from bridges.way import contexts_for

__all__ = ["MapTransform"]

_ACCESS = {"read": AccessMode.READ, "write": AccessMode.WRITE, "read-write": AccessMode.READ_WRITE}


class MapTransform(Transform):
    """Maps frames to another kind of memory, by the route with the fewest copies.

    The device at the far end is the one in ``contexts``, host memory, or one that can be derived
    from the device that the frames lie on; the route may pass through the other contexts, and
    through those that can be derived from the two ends. Frames that lie there already are passed on
    as they are.

    Attributes
    ----------
    mapper : MemoryMapper or None
        What is in use, with its audit; None before the first frame.
    """

    description = ElementDescription(
        name="map",
        summary="the same samples in another kind of memory, without copies where that can be",
        parameters=(
            ParameterDescription(
                "to", str, "the kind of memory", choices=tuple(map(str, MemoryType))
            ),
            ParameterDescription(
                "access", str, "what will be done with it", "read", choices=tuple(_ACCESS)
            ),
            ParameterDescription("cache", int, "mappings to keep", 0, low=0, high=65536),
        ),
        inputs=tuple(MemoryType),
        outputs=tuple(MemoryType),
        media=tuple(MediaType),
    )

    def __init__(self, contexts: Sequence[Context] = (), **parameters: object) -> None:
        super().__init__(contexts, **parameters)
        self._target = MemoryType.parse(self.parameters["to"])
        self._access = _ACCESS[self.parameters["access"]]
        self._derived: list[Context] = []
        self.mapper: MemoryMapper | None = None
        self._route = ""

    @property
    def route(self) -> str:
        """The way that frames took, and what it copied; also after ``close()``."""
        return self.mapper.explain() if self.mapper is not None else self._route

    def process(self, frame: MediaFrame) -> MediaFrame:
        """Return the frame as seen from the other memory; see `Transform.process`."""
        if frame.memory_type is self._target:
            return frame
        source = frame.tensors[0].context
        if self.mapper is None or self.mapper.source is not source:
            self.close()
            self.mapper = self._mapper_for(frame, source)
        return self.mapper.map(frame, self._access)

    def _mapper_for(self, frame: MediaFrame, source: Context) -> MemoryMapper:
        target = self._target_for(source)
        ends = (source.memory_type, target.memory_type)
        between = [context for context in self.contexts if context.memory_type not in ends]
        given = {context.memory_type for context in between}
        for context in contexts_for(frame, target):
            if context.memory_type in given:
                context.close()
            else:
                self._derived.append(context)
                between.append(context)
        return create_mapper([source, *between, target], cache=self.parameters["cache"])

    def _target_for(self, source: Context) -> Context:
        for context in self.contexts:
            if context.memory_type is self._target:
                return context
        if self._target is MemoryType.CPU:
            return CPUContext()
        try:
            self._derived.append(source.derive(self._target))
        except NoRouteError as error:
            raise ElementError(
                f"map has no device for {self._target} memory; give one in contexts ({error})"
            ) from error
        return self._derived[-1]

    def close(self) -> None:
        """Let go of what the mapper keeps, and of devices that were derived."""
        mapper, self.mapper = self.mapper, None
        derived, self._derived = self._derived, []
        if mapper is not None:
            self._route = mapper.explain()
            mapper.close()
        for context in derived:
            context.close()
