/* VP9 decoding by libvpx: the slice data of a picture is one whole frame.
 *
 * A frame that is not shown must still be in its surface, since the application shows it later and
 * alone. libvpx gives out shown frames only: so it is told at once to show the reference slot that
 * the hidden frame went to, by a frame of one byte that changes nothing else.
 *
 * An application makes a new context where the resolution changes, though frames may refer to those
 * before. Surfaces therefore keep the decoder that filled them, and a context without one takes
 * over that of its references.
 */
#include "software_va.h"

#include "bits.h"

#include <stdlib.h>
#include <string.h>
#include <vpx/vp8dx.h>
#include <vpx/vpx_decoder.h>

struct Decoder {
    pthread_mutex_t lock;
    unsigned users;
    vpx_codec_ctx_t codec;
};

typedef struct {
    Decoder *decoder;
    VADecPictureParameterBufferVP9 picture;
    bool has_picture;
    uint8_t *data;
    size_t size;
} State;

static Decoder *create_decoder(void)
{
    Decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder && vpx_codec_dec_init(&decoder->codec, vpx_codec_vp9_dx(), NULL, 0)) {
        free(decoder);
        return NULL;
    }
    if (decoder)
        pthread_mutex_init(&decoder->lock, NULL);
    if (decoder)
        decoder->users = 1;
    return decoder;
}

static Decoder *hold_decoder(Decoder *decoder)
{
    if (decoder)
        __atomic_add_fetch(&decoder->users, 1, __ATOMIC_RELAXED);
    return decoder;
}

void release_decoder(Decoder *decoder)
{
    if (!decoder || __atomic_sub_fetch(&decoder->users, 1, __ATOMIC_ACQ_REL))
        return;
    vpx_codec_destroy(&decoder->codec);
    pthread_mutex_destroy(&decoder->lock);
    free(decoder);
}

static void *open_state(void)
{
    return calloc(1, sizeof(State));
}

static void close_state(void *opened)
{
    State *state = opened;
    release_decoder(state->decoder);
    free(state->data);
    free(state);
}

static void begin(Context *context)
{
    State *state = context->state;
    state->has_picture = false;
    state->size = 0;
}

static VAStatus take_data(State *state, const Buffer *buffer)
{
    size_t size = (size_t)buffer->size * buffer->count;
    uint8_t *data = realloc(state->data, state->size + size + 1);
    if (!data)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    memcpy(data + state->size, buffer->data, size);
    state->data = data;
    state->size += size;
    return VA_STATUS_SUCCESS;
}

/* What slice parameters say, libvpx reads from the frame. */
static VAStatus render(Driver *driver, Context *context, const Buffer *buffer)
{
    State *state = context->state;
    switch (buffer->type) {
    case VAPictureParameterBufferType:
        if (buffer->size < sizeof state->picture)
            return VA_STATUS_ERROR_INVALID_BUFFER;
        memcpy(&state->picture, buffer->data, sizeof state->picture);
        state->has_picture = true;
        return VA_STATUS_SUCCESS;
    case VASliceParameterBufferType:
        return VA_STATUS_SUCCESS;
    case VASliceDataBufferType:
        return take_data(state, buffer);
    default:
        return VA_STATUS_ERROR_UNSUPPORTED_BUFFERTYPE;
    }
}

static Decoder *decoder_of_references(Driver *driver, const State *state)
{
    for (unsigned i = 0; i < 8; i++) {
        Memory *memory = find_slot(driver, state->picture.reference_frames[i], SURFACE);
        if (memory && memory->decoder)
            return hold_decoder(memory->decoder);
    }
    return NULL;
}

static bool choose_decoder(Driver *driver, State *state)
{
    bool is_key = !state->picture.pic_fields.bits.frame_type;
    if (!state->decoder && !is_key)
        state->decoder = decoder_of_references(driver, state);
    if (!state->decoder)
        state->decoder = create_decoder();
    return state->decoder;
}

/* The reference slots that a frame goes to, of which bit i is slot i; VP9 specification, 6.2. */
static unsigned refreshed_slots(const uint8_t *data, size_t size)
{
    BitReader reader = { data, 8 * size, 0 };
    read_bits(&reader, 2); /* frame_marker */
    unsigned profile = read_bits(&reader, 1) | read_bits(&reader, 1) << 1;
    if (read_bits(&reader, 1)) /* show_existing_frame */
        return 0;
    bool is_key = !read_bits(&reader, 1), is_shown = read_bits(&reader, 1);
    bool is_error_resilient = read_bits(&reader, 1);
    if (is_key)
        return 255;
    bool is_intra_only = !is_shown && read_bits(&reader, 1);
    if (!is_error_resilient)
        read_bits(&reader, 2); /* reset_frame_context */
    if (is_intra_only) {
        read_bits(&reader, 24); /* frame_sync_code */
        if (profile == 2)
            read_bits(&reader, 5); /* ten_or_twelve_bit, color_space, color_range */
    }
    return read_bits(&reader, 8);
}

static const vpx_image_t *shown_image(Decoder *decoder)
{
    vpx_codec_iter_t iterator = NULL;
    return vpx_codec_get_frame(&decoder->codec, &iterator);
}

static const vpx_image_t *show_slot(Decoder *decoder, unsigned slot, unsigned profile)
{
    const uint8_t marker = 2, show_existing_frame = 1;
    uint8_t frame = marker << 6 | (profile & 1) << 5 | (profile >> 1) << 4
                    | show_existing_frame << 3 | slot;
    if (vpx_codec_decode(&decoder->codec, &frame, sizeof frame, NULL, 0))
        return NULL;
    return shown_image(decoder);
}

static const uint8_t *image_row(const vpx_image_t *image, unsigned plane, unsigned row)
{
    return image->planes[plane] + (ptrdiff_t)row * image->stride[plane];
}

static void copy_8_bit(const vpx_image_t *image, const Memory *target)
{
    for (unsigned y = 0; y < image->d_h; y++)
        memcpy(memory_row(target, 0, y), image_row(image, VPX_PLANE_Y, y), image->d_w);
    for (unsigned y = 0; y < (image->d_h + 1) / 2; y++) {
        const uint8_t *u = image_row(image, VPX_PLANE_U, y), *v = image_row(image, VPX_PLANE_V, y);
        uint8_t *row = memory_row(target, 1, y);
        for (unsigned x = 0; x < (image->d_w + 1) / 2; x++) {
            row[2 * x] = u[x];
            row[2 * x + 1] = v[x];
        }
    }
}

/* P010 holds its 10 bits at the top of 16, libvpx at the bottom. */
static void copy_10_bit(const vpx_image_t *image, const Memory *target)
{
    for (unsigned y = 0; y < image->d_h; y++) {
        const uint16_t *luma = (const void *)image_row(image, VPX_PLANE_Y, y);
        uint16_t *row = (void *)memory_row(target, 0, y);
        for (unsigned x = 0; x < image->d_w; x++)
            row[x] = luma[x] << 6;
    }
    for (unsigned y = 0; y < (image->d_h + 1) / 2; y++) {
        const uint16_t *u = (const void *)image_row(image, VPX_PLANE_U, y);
        const uint16_t *v = (const void *)image_row(image, VPX_PLANE_V, y);
        uint16_t *row = (void *)memory_row(target, 1, y);
        for (unsigned x = 0; x < (image->d_w + 1) / 2; x++) {
            row[2 * x] = u[x] << 6;
            row[2 * x + 1] = v[x] << 6;
        }
    }
}

static VAStatus copy_image(const vpx_image_t *image, const Memory *target)
{
    bool is_deep = image->fmt == VPX_IMG_FMT_I42016;
    if (!is_deep && image->fmt != VPX_IMG_FMT_I420)
        return VA_STATUS_ERROR_UNSUPPORTED_RT_FORMAT;
    if (image->bit_depth != (target->format->image.fourcc == VA_FOURCC_P010 ? 10 : 8))
        return VA_STATUS_ERROR_UNSUPPORTED_RT_FORMAT;
    if (image->d_w > target->width || image->d_h > target->height)
        return VA_STATUS_ERROR_RESOLUTION_NOT_SUPPORTED;
    memory_begin(target, WRITES);
    if (is_deep)
        copy_10_bit(image, target);
    else
        copy_8_bit(image, target);
    memory_end(target, WRITES);
    return VA_STATUS_SUCCESS;
}

static VAStatus decode(const State *state, Memory *target)
{
    Decoder *decoder = state->decoder;
    if (vpx_codec_decode(&decoder->codec, state->data, state->size, NULL, 0))
        return VA_STATUS_ERROR_DECODING_ERROR;
    const vpx_image_t *image = shown_image(decoder);
    if (!image && !state->picture.pic_fields.bits.show_frame) {
        unsigned slots = refreshed_slots(state->data, state->size);
        if (!slots)
            return VA_STATUS_SUCCESS; /* nobody will see it */
        image = show_slot(decoder, __builtin_ctz(slots), state->picture.profile);
    }
    if (!image)
        return VA_STATUS_ERROR_DECODING_ERROR;
    release_decoder(target->decoder);
    target->decoder = hold_decoder(decoder);
    return copy_image(image, target);
}

static VAStatus end(Driver *driver, Context *context)
{
    State *state = context->state;
    if (!state->has_picture || !state->size)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    if (!choose_decoder(driver, state))
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    pthread_mutex_lock(&state->decoder->lock);
    VAStatus status = decode(state, context->target);
    pthread_mutex_unlock(&state->decoder->lock);
    return fails_now(&driver->decode_failure) ? VA_STATUS_ERROR_DECODING_ERROR : status;
}

const Work vp9_decoding = { .open = open_state, .begin = begin, .render = render, .end = end,
                            .close = close_state };
