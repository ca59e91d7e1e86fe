/* Bits of a coded stream: see bits.h. */
#include "bits.h"

#include <stdlib.h>

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

static void write_raw(BitWriter *writer, uint8_t byte)
{
    if (writer->size == writer->capacity) {
        size_t capacity = writer->capacity ? 2 * writer->capacity : 4096;
        uint8_t *data = realloc(writer->data, capacity);
        writer->failed |= !data;
        if (!data)
            return;
        writer->data = data;
        writer->capacity = capacity;
    }
    writer->data[writer->size++] = byte;
}

/* Two zeros and a byte up to 3 would look like a start code or an escape; ITU-T H.264, 7.4.1.1. */
static void write_escaped(BitWriter *writer, uint8_t byte)
{
    if (writer->zeros >= 2 && byte <= 3) {
        write_raw(writer, 3);
        writer->zeros = 0;
    }
    write_raw(writer, byte);
    writer->zeros = byte ? 0 : writer->zeros + 1;
}

void write_bits(BitWriter *writer, uint32_t value, unsigned count)
{
    while (count) {
        unsigned taken = 8 - writer->pending_bits < count ? 8 - writer->pending_bits : count;
        count -= taken;
        writer->pending = writer->pending << taken | (value >> count & ((1u << taken) - 1));
        writer->pending_bits += taken;
        if (writer->pending_bits == 8) {
            write_escaped(writer, writer->pending);
            writer->pending = writer->pending_bits = 0;
        }
    }
}

void write_exp_golomb(BitWriter *writer, uint32_t value)
{
    unsigned bits = 32 - __builtin_clz(value + 1);
    write_bits(writer, 0, bits - 1);
    write_bits(writer, value + 1, bits);
}

void align_with_zeros(BitWriter *writer)
{
    if (writer->pending_bits)
        write_bits(writer, 0, 8 - writer->pending_bits);
}

/* 3 bytes, 4 with the zero that may come first, or 0 where there is none. */
static size_t start_code(const uint8_t *data, size_t size)
{
    if (size < 3 || data[0] || data[1])
        return 0;
    if (data[2] == 1)
        return 3;
    return size > 3 && !data[2] && data[3] == 1 ? 4 : 0;
}

static void write_start_code(BitWriter *writer, size_t length)
{
    while (--length)
        write_raw(writer, 0);
    write_raw(writer, 1);
    writer->zeros = 0;
}

/* What is escaped already is taken apart, since the byte that it ends in is not complete. Without
 * escapes a start code can be told at the beginning only. */
void write_nal_units(BitWriter *writer, const uint8_t *data, size_t bits, bool is_escaped)
{
    size_t size = bits / 8;
    unsigned zeros = 0;
    for (size_t i = 0; i < size; i++) {
        size_t length = i == 0 || is_escaped ? start_code(data + i, size - i) : 0;
        if (length) {
            write_start_code(writer, length);
            i += length - 1;
            zeros = 0;
        } else if (is_escaped && zeros >= 2 && data[i] == 3) {
            zeros = 0;
        } else {
            write_bits(writer, data[i], 8);
            zeros = data[i] ? 0 : zeros + 1;
        }
    }
    if (bits % 8)
        write_bits(writer, data[size] >> (8 - bits % 8), bits % 8);
}
