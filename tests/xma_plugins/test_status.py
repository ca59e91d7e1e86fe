"""The return codes, against the numbers of the public header xma.h (XRT 2.13)."""

from xma_plugins import Status


def test_numbers_are_those_of_the_header():
    assert {status.name: status.value for status in Status} == {
        "SUCCESS": 0,
        "SEND_MORE_DATA": 1,
        "END_OF_FILE": 2,
        "EOS": 3,
        "FLUSH_AGAIN": 4,
        "TRY_AGAIN": 5,
        "RESEND_AND_RECV": 6,
    }
