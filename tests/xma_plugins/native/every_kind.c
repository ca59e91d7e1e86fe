/* An encoder, a decoder, a scaler and a kernel in one library. A packet is the planes of a picture in
   8-bit 4:2:0, one behind the other, without padding. No compute unit does anything here. */

#include <stdlib.h>
#include <string.h>

#include "xma.h"

static int32_t version(int32_t *main_version, int32_t *sub_version) {
    *main_version = 2020;
    *sub_version = 1;
    return 0;
}

static int columns(int width, int plane) { return plane ? (width + 1) / 2 : width; }

/* The encoder keeps one picture back; its packets begin with what the session was told. */

typedef struct {
    uint8_t *packet[2];
    int32_t nbytes[2], pts[2], count, is_ended;
    uint8_t qp_map;
} Encoder;

static int32_t encoder_init(EncoderSession *session) {
    return session->properties.format == 1 && session->properties.bitrate ? SUCCESS : FAILED;
}

static int32_t encoder_send(EncoderSession *session, Frame *frame) {
    Encoder *state = session->base.plugin_data;
    const FrameProperties *p = &frame->properties;
    if (frame->is_last_frame && frame->data[0].buffer_type == NO_BUFFER) {
        state->is_ended = 1;
        return SUCCESS;
    }
    if (state->count == 2) return TRY_AGAIN;
    int32_t size = 4 + p->width * p->height + 2 * columns(p->width, 1) * columns(p->height, 1);
    uint8_t *at = malloc(size);
    state->packet[state->count] = at;
    state->nbytes[state->count] = size;
    state->pts[state->count++] = (int32_t)frame->pts;
    int32_t bitrate = session->properties.bitrate;
    /* struct of side data: its BufferRef has the bytes. */
    if (frame->side_data && frame->side_data[0])
        bitrate += *(uint8_t *)((BufferRef *)frame->side_data[0])->buffer;
    memcpy(at, &bitrate, 4);
    at += 4;
    for (int i = 0; i < 3; i++)
        for (int y = 0; y < columns(p->height, i); y++, at += columns(p->width, i))
            memcpy(at, (uint8_t *)frame->data[i].buffer + (size_t)y * p->linesize[i],
                   columns(p->width, i));
    return state->count == 2 ? SUCCESS : SEND_MORE_DATA;
}

static int32_t encoder_recv(EncoderSession *session, DataBuffer *data, int32_t *nbytes) {
    Encoder *state = session->base.plugin_data;
    if (!state->count) return state->is_ended ? EOS : TRY_AGAIN;
    if (state->count == 1 && !state->is_ended) return TRY_AGAIN;
    if (data->alloc_size < state->nbytes[0]) return FAILED;
    memcpy(data->data.buffer, state->packet[0], state->nbytes[0]);
    *nbytes = state->nbytes[0];
    data->pts = state->pts[0];
    data->poc = 7;
    free(state->packet[0]);
    state->packet[0] = state->packet[1];
    state->nbytes[0] = state->nbytes[1];
    state->pts[0] = state->pts[1];
    state->count--;
    return SUCCESS;
}

static int32_t encoder_close(EncoderSession *session) {
    Encoder *state = session->base.plugin_data;
    while (state->count) free(state->packet[--state->count]);
    return SUCCESS;
}

EncoderPlugin encoder_plugin = {
    .type = 5,
    .vendor = "xtranscode",
    .format = 1,
    .bits_per_pixel = 8,
    .plugin_data_size = sizeof(Encoder),
    .init = encoder_init,
    .send_frame = encoder_send,
    .recv_data = encoder_recv,
    .close = encoder_close,
    .xma_version = version,
};

typedef struct {
    uint8_t *packet;
    int32_t pts, is_known, is_ended;
} Decoder;

static int32_t decoder_init(DecoderSession *session) {
    return session->properties.width > 0 ? SUCCESS : FAILED;
}

static int32_t decoder_send(DecoderSession *session, DataBuffer *data, int32_t *used) {
    Decoder *state = session->base.plugin_data;
    *used = 0;
    if (data->is_eof) {
        state->is_ended = 1;
        return SUCCESS;
    }
    if (state->packet) return TRY_AGAIN;
    state->packet = malloc(data->alloc_size);
    memcpy(state->packet, data->data.buffer, data->alloc_size);
    state->pts = data->pts;
    state->is_known = 1;
    *used = data->alloc_size;
    return SUCCESS;
}

static int32_t decoder_properties(DecoderSession *session, FrameProperties *properties) {
    Decoder *state = session->base.plugin_data;
    if (!state->is_known) return SUCCESS;
    properties->format = 1;
    properties->width = session->properties.width;
    properties->height = session->properties.height;
    properties->bits_per_pixel = 8;
    return SUCCESS;
}

static int32_t decoder_recv(DecoderSession *session, Frame *frame) {
    Decoder *state = session->base.plugin_data;
    const FrameProperties *p = &frame->properties;
    if (!state->packet) return state->is_ended ? EOS : TRY_AGAIN;
    const uint8_t *at = state->packet + 4;
    for (int i = 0; i < 3; i++)
        for (int y = 0; y < columns(p->height, i); y++, at += columns(p->width, i))
            memcpy((uint8_t *)frame->data[i].buffer + (size_t)y * p->linesize[i], at,
                   columns(p->width, i));
    frame->pts = state->pts;
    free(state->packet);
    state->packet = NULL;
    return SUCCESS;
}

static int32_t decoder_close(DecoderSession *session) {
    free(((Decoder *)session->base.plugin_data)->packet);
    return SUCCESS;
}

DecoderPlugin decoder_plugin = {
    .type = 1,
    .vendor = "xtranscode",
    .plugin_data_size = sizeof(Decoder),
    .init = decoder_init,
    .send_data = decoder_send,
    .get_properties = decoder_properties,
    .recv_frame = decoder_recv,
    .close = decoder_close,
    .xma_version = version,
};

/* The scaler takes the sample that is nearest from above and from the left, and adds the first of
   its filter's coefficients to it. */

typedef struct {
    uint8_t *planes[3];
    FrameProperties from;
    uint64_t pts;
    int32_t is_full;
} Scaler;

static int32_t scaler_init(ScalerSession *session) {
    return session->properties.num_outputs == 2 ? SUCCESS : FAILED;
}

static int32_t scaler_send(ScalerSession *session, Frame *frame) {
    Scaler *state = session->base.plugin_data;
    if (!frame) return EOS;
    state->from = frame->properties;
    for (int i = 0; i < 3; i++) {
        size_t nbytes = (size_t)state->from.linesize[i] * columns(state->from.height, i);
        free(state->planes[i]);
        state->planes[i] = malloc(nbytes);
        size_t last = nbytes - state->from.linesize[i] + columns(state->from.width, i);
        memcpy(state->planes[i], frame->data[i].buffer, last);
    }
    state->pts = frame->pts;
    state->is_full = 1;
    return SUCCESS;
}

static int32_t scaler_recv(ScalerSession *session, Frame **frames) {
    Scaler *state = session->base.plugin_data;
    if (!state->is_full) return TRY_AGAIN;
    for (int n = 0; n < session->properties.num_outputs; n++) {
        const FrameProperties *to = &frames[n]->properties;
        for (int i = 0; i < 3; i++)
            for (int y = 0; y < columns(to->height, i); y++)
                for (int x = 0; x < columns(to->width, i); x++) {
                    int v = y * columns(state->from.height, i) / columns(to->height, i);
                    int u = x * columns(state->from.width, i) / columns(to->width, i);
                    ((uint8_t *)frames[n]->data[i].buffer)[(size_t)y * to->linesize[i] + x] =
                        state->planes[i][(size_t)v * state->from.linesize[i] + u] +
                        session->properties.coefficients[0][0][0];
                }
        frames[n]->pts = state->pts;
    }
    state->is_full = 0;
    return SUCCESS;
}

static int32_t scaler_close(ScalerSession *session) {
    Scaler *state = session->base.plugin_data;
    for (int i = 0; i < 3; i++) free(state->planes[i]);
    return SUCCESS;
}

ScalerPlugin scaler_plugin = {
    .type = 3,
    .vendor = "xtranscode",
    .plugin_data_size = sizeof(Scaler),
    .init = scaler_init,
    .send_frame = scaler_send,
    .recv_frame_list = scaler_recv,
    .close = scaler_close,
    .xma_version = version,
};

/* The kernel adds up the numbers that are written, and keeps the last text. */

typedef struct {
    int64_t sum;
    char text[64];
} Kernel;

static int32_t kernel_init(KernelSession *session) {
    (void)session;
    return SUCCESS;
}

static int32_t kernel_write(KernelSession *session, Parameter *parameters, int32_t count) {
    Kernel *state = session->base.plugin_data;
    for (int i = 0; i < count; i++) {
        if (!strcmp(parameters[i].name, "fail")) return -5;
        if (parameters[i].type == 4) state->sum += *(int64_t *)parameters[i].value;
        if (parameters[i].type == 3) state->sum += *(uint32_t *)parameters[i].value;
        if (parameters[i].type == 1) strncpy(state->text, parameters[i].value, 63);
    }
    return SUCCESS;
}

static int32_t kernel_read(KernelSession *session, Parameter *parameters, int32_t *count) {
    Kernel *state = session->base.plugin_data;
    if (*count < 2) return FAILED;
    parameters[0].name = "sum";
    parameters[0].type = 4;
    memcpy(parameters[0].value, &state->sum, parameters[0].length = 8);
    parameters[1].name = "text";
    parameters[1].type = 1;
    parameters[1].value = state->text;
    parameters[1].length = strlen(state->text) + 1;
    *count = 2;
    return SUCCESS;
}

static int32_t kernel_close(KernelSession *session) {
    (void)session;
    return SUCCESS;
}

KernelPlugin kernel_plugin = {
    .type = 1,
    .vendor = "xtranscode",
    .plugin_data_size = sizeof(Kernel),
    .init = kernel_init,
    .write = kernel_write,
    .read = kernel_read,
    .close = kernel_close,
    .xma_version = version,
};
