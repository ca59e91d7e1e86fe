/* Bits of a coded stream: see bits.h. */
#include "bits.h"

static unsigned read_bit(BitReader *reader)
{
    size_t position = reader->position++;
    if (position >= reader->size)
        return 0;
    return reader->data[position / 8] >> (7 - position % 8) & 1;
}

uint32_t read_bits(BitReader *reader, unsigned count)
{
    uint32_t value = 0;
    while (count--)
        value = value << 1 | read_bit(reader);
    return value;
}
