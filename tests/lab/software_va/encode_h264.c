/* H.264 encoding without loss: each macroblock is an I_PCM one, which holds its samples as they are.
 *
 * Headers are the application's: it is asked to pack those of sequences, pictures and slices, and
 * the macroblocks go on at the bit where the header of their slice ends. Entropy coding is CAVLC,
 * where only the type of a macroblock is coded before its samples. They need no reference, yet may
 * be in P slices. As their quantiser counts as 0, the deblocking filter leaves them alone.
 */
#include "software_va.h"

#include "bits.h"

#include <stdlib.h>
#include <string.h>

#define MACROBLOCK 16
#define I_PCM 25                 /* mb_type in I slices; ITU-T H.264, table 7-11 */
#define INTRA_TYPES_IN_P_SLICE 5 /* mb_type of the first intra macroblock there; table 7-13 */

typedef struct {
    unsigned width_in_mbs, height_in_mbs; /* 0 before the first sequence */
    VABufferID coded;
    bool has_picture, has_slice_header;
    VAEncPackedHeaderParameterBuffer packed;
    BitWriter writer;
} State;

static void *open_state(void)
{
    return calloc(1, sizeof(State));
}

static void close_state(void *opened)
{
    State *state = opened;
    free(state->writer.data);
    free(state);
}

static void begin(Context *context)
{
    State *state = context->state;
    uint8_t *data = state->writer.data;
    state->writer = (BitWriter){ .data = data, .capacity = state->writer.capacity };
    state->has_picture = state->has_slice_header = false;
}

static VAStatus take_sequence(State *state, const VAEncSequenceParameterBufferH264 *sequence)
{
    if (!sequence->seq_fields.bits.frame_mbs_only_flag
        || sequence->seq_fields.bits.chroma_format_idc != 1 || sequence->bit_depth_luma_minus8
        || sequence->bit_depth_chroma_minus8)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    state->width_in_mbs = sequence->picture_width_in_mbs;
    state->height_in_mbs = sequence->picture_height_in_mbs;
    return VA_STATUS_SUCCESS;
}

static VAStatus take_picture(State *state, const VAEncPictureParameterBufferH264 *picture)
{
    if (picture->pic_fields.bits.entropy_coding_mode_flag)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    state->coded = picture->coded_buf;
    state->has_picture = true;
    return VA_STATUS_SUCCESS;
}

static VAStatus take_packed_data(State *state, const Buffer *buffer)
{
    size_t bits = state->packed.bit_length;
    if (bits > 8 * (size_t)buffer->size * buffer->count)
        return VA_STATUS_ERROR_INVALID_BUFFER;
    write_nal_units(&state->writer, buffer->data, bits, state->packed.has_emulation_bytes);
    state->has_slice_header = state->packed.type == VAEncPackedHeaderSlice;
    return VA_STATUS_SUCCESS;
}

static unsigned smaller(unsigned one, unsigned other)
{
    return one < other ? one : other;
}

/* The last sample goes on to the end of the macroblock: that part is cropped from the picture. */
static void write_block(BitWriter *writer, const Memory *source, unsigned plane, unsigned byte,
                        unsigned left, unsigned top, unsigned length)
{
    const Format *format = source->format;
    unsigned bytes = format->plane[plane].bytes;
    unsigned columns = row_bytes(format, plane, source->width) / bytes;
    unsigned rows = plane_rows(format, plane, source->height);
    for (unsigned y = top; y < top + length; y++) {
        const uint8_t *row = memory_row(source, plane, smaller(y, rows - 1));
        for (unsigned x = left; x < left + length; x++)
            write_bits(writer, row[smaller(x, columns - 1) * bytes + byte], 8);
    }
}

static void write_macroblock(BitWriter *writer, const Memory *source, unsigned left, unsigned top)
{
    bool is_semi_planar = source->format->planes == 2;
    const unsigned half = MACROBLOCK / 2;
    align_with_zeros(writer);
    write_block(writer, source, 0, 0, left, top, MACROBLOCK);
    write_block(writer, source, 1, 0, left / 2, top / 2, half);
    write_block(writer, source, is_semi_planar ? 1 : 2, is_semi_planar, left / 2, top / 2, half);
}

static VAStatus write_slice(State *state, const Memory *source,
                            const VAEncSliceParameterBufferH264 *slice)
{
    enum { P, B, I }; /* slice_type modulo 5; table 7-6 */
    unsigned type = slice->slice_type % 5, end = slice->macroblock_address + slice->num_macroblocks;
    if (!state->has_slice_header || (type != P && type != I)
        || end > state->width_in_mbs * state->height_in_mbs)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    state->has_slice_header = false;
    for (unsigned i = slice->macroblock_address; i < end; i++) {
        if (type == P)
            write_exp_golomb(&state->writer, 0); /* mb_skip_run */
        write_exp_golomb(&state->writer, type == P ? INTRA_TYPES_IN_P_SLICE + I_PCM : I_PCM);
        write_macroblock(&state->writer, source, i % state->width_in_mbs * MACROBLOCK,
                         i / state->width_in_mbs * MACROBLOCK);
    }
    write_bits(&state->writer, 1, 1); /* rbsp_stop_one_bit */
    align_with_zeros(&state->writer);
    return VA_STATUS_SUCCESS;
}

static VAStatus take_slice(Context *context, const VAEncSliceParameterBufferH264 *slice)
{
    memory_begin(context->target, READS);
    VAStatus status = write_slice(context->state, context->target, slice);
    memory_end(context->target, READS);
    return status;
}

static size_t size_of_parameters(VABufferType type)
{
    switch (type) {
    case VAEncSequenceParameterBufferType:
        return sizeof(VAEncSequenceParameterBufferH264);
    case VAEncPictureParameterBufferType:
        return sizeof(VAEncPictureParameterBufferH264);
    case VAEncSliceParameterBufferType:
        return sizeof(VAEncSliceParameterBufferH264);
    case VAEncPackedHeaderParameterBufferType:
        return sizeof(VAEncPackedHeaderParameterBuffer);
    default:
        return 0;
    }
}

/* What the other parameters ask for, such as a rate or a quality, has no meaning without loss. */
static VAStatus render(Driver *driver, Context *context, const Buffer *buffer)
{
    State *state = context->state;
    const void *data = buffer->data;
    if (buffer->size < size_of_parameters(buffer->type))
        return VA_STATUS_ERROR_INVALID_BUFFER;
    switch (buffer->type) {
    case VAEncSequenceParameterBufferType:
        return take_sequence(state, data);
    case VAEncPictureParameterBufferType:
        return take_picture(state, data);
    case VAEncSliceParameterBufferType:
        return take_slice(context, data);
    case VAEncPackedHeaderParameterBufferType:
        memcpy(&state->packed, data, sizeof state->packed);
        return VA_STATUS_SUCCESS;
    case VAEncPackedHeaderDataBufferType:
        return take_packed_data(state, buffer);
    case VAEncMiscParameterBufferType:
    case VAIQMatrixBufferType:
        return VA_STATUS_SUCCESS;
    default:
        return VA_STATUS_ERROR_UNSUPPORTED_BUFFERTYPE;
    }
}

static VAStatus end(Driver *driver, Context *context)
{
    State *state = context->state;
    Buffer *coded = state->has_picture ? find_slot(driver, state->coded, BUFFER) : NULL;
    if (!coded || coded->type != VAEncCodedBufferType)
        return VA_STATUS_ERROR_INVALID_BUFFER;
    if (state->writer.failed)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    if (state->writer.size > (size_t)coded->size * coded->count)
        return VA_STATUS_ERROR_NOT_ENOUGH_BUFFER;
    memcpy(coded->data, state->writer.data, state->writer.size);
    coded->segment.size = state->writer.size;
    return VA_STATUS_SUCCESS;
}

const Work h264_encoding = { .open = open_state, .begin = begin, .render = render, .end = end,
                             .close = close_state };
