/* Bits of a coded stream, most significant first: read, and written as the payload of NAL units. */
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

#endif
