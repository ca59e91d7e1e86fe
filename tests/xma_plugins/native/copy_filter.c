/* A filter that gives back what it takes, through two device buffers. Where no card runs the
   kernel, it copies from one to the other itself. */

#include <stdlib.h>
#include <string.h>

#include "xma.h"

#define PLANES 3

typedef struct {
    BufferObject in[PLANES], out[PLANES];
    uint64_t pts;
    int count, is_full, is_ended;
} State;

static int rows_of(const FrameProperties *properties, int plane) {
    int is_halved = plane > 0 && (properties->format == 1 || properties->format == 6);
    return is_halved ? (properties->height + 1) / 2 : properties->height;
}

static int planes_of(int format) {
    static const int counts[] = {0, 3, 3, 3, 1, 3, 2, 2};
    return format > 0 && format < 8 ? counts[format] : 0;
}

static int32_t init(FilterSession *session) {
    State *state = session->base.plugin_data;
    const FilterPort *port = &session->properties.input;
    if (session->properties.param_cnt == 1 &&
        !strcmp(session->properties.params[0].name, "refuse"))
        return FAILED;
    state->count = planes_of(port->format);
    for (int i = 0; i < state->count; i++) {
        size_t nbytes = (size_t)port->stride * port->height;
        int32_t in, out;
        state->in[i] = xma_plg_buffer_alloc(session->base, nbytes, false, &in);
        state->out[i] = xma_plg_buffer_alloc_arg_num(session->base, nbytes, false, 1, &out);
        if (in || out) return FAILED;
    }
    return SUCCESS;
}

static int32_t send_frame(FilterSession *session, Frame *frame) {
    State *state = session->base.plugin_data;
    uint8_t registers[0x40] = {0};
    if (state->is_full) return TRY_AGAIN;
    if (frame->is_last_frame && frame->data[0].buffer_type == NO_BUFFER) {
        state->is_ended = 1;
        return SUCCESS;
    }
    for (int i = 0; i < state->count; i++) {
        size_t nbytes = (size_t)frame->properties.linesize[i] * rows_of(&frame->properties, i);
        memcpy(state->in[i].data, frame->data[i].buffer, nbytes);
        if (xma_plg_buffer_write(session->base, state->in[i], nbytes, 0)) return FAILED;
        memcpy(registers + 0x18, &state->in[i].paddr, 8);
        memcpy(registers + 0x24, &state->out[i].paddr, 8);
        memcpy(registers + 0x30, &nbytes, 4);
        int32_t result = FAILED;
        xma_plg_schedule_work_item(session->base, registers, sizeof registers, &result);
        if (result) return FAILED;
        if (xma_plg_is_work_item_done(session->base, 1000)) return FAILED;
        memcpy(state->out[i].data, state->in[i].data, nbytes);
    }
    state->pts = frame->pts;
    state->is_full = 1;
    return SUCCESS;
}

static int32_t recv_frame(FilterSession *session, Frame *frame) {
    State *state = session->base.plugin_data;
    if (!state->is_full) return state->is_ended ? EOS : TRY_AGAIN;
    if (frame->data[0].buffer_type == NO_BUFFER) {
        BufferObject *planes[PLANES];
        for (int i = 0; i < state->count; i++) planes[i] = &state->out[i];
        if (xma_plg_add_buffer_to_frame(frame, planes, state->count)) return FAILED;
    }
    for (int i = 0; i < state->count; i++) {
        size_t nbytes = (size_t)frame->properties.linesize[i] * rows_of(&frame->properties, i);
        if (xma_plg_buffer_read(session->base, state->out[i], nbytes, 0)) return FAILED;
        if (frame->data[i].buffer_type == HOST)
            memcpy(frame->data[i].buffer, state->out[i].data, nbytes);
    }
    frame->pts = state->pts;
    state->is_full = 0;
    return SUCCESS;
}

static int32_t close_(FilterSession *session) {
    State *state = session->base.plugin_data;
    for (int i = 0; i < state->count; i++) {
        xma_plg_buffer_free(session->base, state->in[i]);
        xma_plg_buffer_free(session->base, state->out[i]);
    }
    return SUCCESS;
}

#ifndef SUB_VERSION
#define SUB_VERSION 1
#endif

static int32_t version(int32_t *main_version, int32_t *sub_version) {
    *main_version = 2020;
    *sub_version = SUB_VERSION;
    return 0;
}

FilterPlugin filter_plugin = {
    .type = 1,
    .vendor = "xtranscode",
    .plugin_data_size = sizeof(State),
    .init = init,
    .send_frame = send_frame,
    .recv_frame = recv_frame,
    .close = close_,
    .xma_version = version,
};
