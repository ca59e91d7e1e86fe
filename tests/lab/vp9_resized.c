/* Writes a VP9 stream as IVF whose resolution changes at frames that are no key frames.
 *
 * Frames after a change are predicted from scaled ones before it. No program that is installed
 * makes such a stream: libvpx does, where its configuration changes between two frames.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vpx/vp8cx.h>
#include <vpx/vpx_encoder.h>

#define FRAMES_PER_SIZE 6

static const unsigned sizes[][2] = { { 322, 178 }, { 160, 90 }, { 241, 135 }, { 322, 178 } };

static void write_little_endian(FILE *file, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        fputc(value >> 8 * i & 255, file);
}

static void write_header(FILE *file, unsigned frames)
{
    fputs("DKIF", file);
    write_little_endian(file, 0, 2);
    write_little_endian(file, 32, 2);
    fputs("VP90", file);
    write_little_endian(file, sizes[0][0], 2);
    write_little_endian(file, sizes[0][1], 2);
    write_little_endian(file, 25, 4);
    write_little_endian(file, 1, 4);
    write_little_endian(file, frames, 4);
    write_little_endian(file, 0, 4);
}

/* A gradient that moves, so that motion vectors are used. */
static void draw(vpx_image_t *image, unsigned number)
{
    for (unsigned plane = 0; plane < 3; plane++)
        for (unsigned y = 0; y < (plane ? (image->d_h + 1) / 2 : image->d_h); y++)
            for (unsigned x = 0; x < (plane ? (image->d_w + 1) / 2 : image->d_w); x++)
                image->planes[plane][y * image->stride[plane] + x]
                    = (x + 3 * number) * (y + 5 * plane) / 16 + 4 * number;
}

static void encode(vpx_codec_ctx_t *codec, const vpx_codec_enc_cfg_t *settings, unsigned number,
                   FILE *file)
{
    vpx_image_t *image = vpx_img_alloc(NULL, VPX_IMG_FMT_I420, settings->g_w, settings->g_h, 16);
    vpx_codec_iter_t iterator = NULL;
    const vpx_codec_cx_pkt_t *packet;
    draw(image, number);
    if (vpx_codec_encode(codec, image, number, 1, 0, VPX_DL_REALTIME))
        exit(1);
    while ((packet = vpx_codec_get_cx_data(codec, &iterator)))
        if (packet->kind == VPX_CODEC_CX_FRAME_PKT) {
            write_little_endian(file, packet->data.frame.sz, 4);
            write_little_endian(file, number, 8);
            fwrite(packet->data.frame.buf, 1, packet->data.frame.sz, file);
        }
    vpx_img_free(image);
}

int main(int count, char **arguments)
{
    const unsigned frames = FRAMES_PER_SIZE * sizeof sizes / sizeof *sizes;
    FILE *file = count == 2 ? fopen(arguments[1], "wb") : NULL;
    vpx_codec_enc_cfg_t settings;
    vpx_codec_ctx_t codec;
    if (!file || vpx_codec_enc_config_default(vpx_codec_vp9_cx(), &settings, 0))
        return 1;
    settings.g_lag_in_frames = 0;
    settings.g_w = sizes[0][0];
    settings.g_h = sizes[0][1];
    if (vpx_codec_enc_init(&codec, vpx_codec_vp9_cx(), &settings, 0))
        return 1;
    vpx_codec_control(&codec, VP8E_SET_CPUUSED, 7);
    write_header(file, frames);
    for (unsigned i = 0; i < frames; i++) {
        settings.g_w = sizes[i / FRAMES_PER_SIZE][0];
        settings.g_h = sizes[i / FRAMES_PER_SIZE][1];
        if (vpx_codec_enc_config_set(&codec, &settings))
            return 1;
        encode(&codec, &settings, i, file);
    }
    vpx_codec_destroy(&codec);
    return fclose(file);
}
