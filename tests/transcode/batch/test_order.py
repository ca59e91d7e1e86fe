"""Which job of a batch is next."""

from transcode.batch.order import Order


def taken(order, now=0.0):
    numbers = []
    while (number := order.next(now)) is not None:
        numbers.append(number)
    return numbers


def test_the_longest_is_first_and_of_equals_the_first():
    order = Order({})
    for number, length in enumerate((1.0, 5.0, 3.0, 5.0), 1):
        order.add(number, length=length)
    assert len(order) == 4
    assert taken(order) == [2, 4, 3, 1]
    assert len(order) == 0


def test_a_job_waits_for_its_time():
    order = Order({})
    order.add(1, length=9, at=10.0)
    order.add(2, length=1)
    assert taken(order, 9.9) == [2]
    assert len(order) == 1
    assert taken(order, 10.0) == [1]


def test_slots_limit_their_own_kind_only():
    order = Order({"cuda": 2})
    for number in range(1, 5):
        order.add(number, length=9, slot="cuda")
    order.add(5, length=1)
    order.add(6, length=2, slot="opencl")
    assert taken(order) == [1, 2, 6, 5]
    order.give_back("cuda")
    assert taken(order) == [3]
    order.give_back("opencl")
    assert taken(order) == []
    order.give_back("cuda")
    order.give_back("cuda")
    assert taken(order) == [4]
