/* Bits of a coded stream, most significant first: read, and written as NAL units of H.264. */
#ifndef BITS_H
#define BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const uint8_t *data;
    size_t size, position; /* in bits */
} BitReader;

/* Zeros after the end. */
uint32_t read_bits(BitReader *reader, unsigned count);

/* The payload of NAL units goes in without emulation prevention bytes and comes out with them. */
typedef struct {
    uint8_t *data;
    size_t size, capacity;
    unsigned pending, pending_bits; /* of the byte that is not full yet */
    unsigned zeros;                 /* that came before, in bytes */
    bool failed;                    /* for want of memory */
} BitWriter;

void write_bits(BitWriter *writer, uint32_t value, unsigned count);
void write_exp_golomb(BitWriter *writer, uint32_t value);
void align_with_zeros(BitWriter *writer);

/* NAL units from elsewhere, with their start codes; the last one can be continued. */
void write_nal_units(BitWriter *writer, const uint8_t *data, size_t bits, bool is_escaped);

#endif
