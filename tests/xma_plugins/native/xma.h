/* What a compiled plugin has to know of libxma2api and libxma2plugin of XRT 2.13: our own
   declarations of what the public headers in the folder xma2 say, as far as the plugins here use
   it. Fields that no plugin here reads are told by their size alone. */

#ifndef XMA_H
#define XMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HOST = 1, DEVICE, DEVICE_ONLY, NO_BUFFER };
enum {
    SUCCESS,
    SEND_MORE_DATA,
    END_OF_FILE,
    EOS,
    FLUSH_AGAIN,
    TRY_AGAIN,
    RESEND_AND_RECV,
    FAILED = -1
};

typedef struct {
    int32_t numerator, denominator;
} Fraction;

typedef struct {
    uint8_t *data;
    uint64_t size, paddr;
    int32_t bank_index, dev_index;
    void *user_ptr;
    bool device_only_buffer;
    void *private_;
} BufferObject;

typedef struct {
    int32_t refcount;
    int buffer_type;
    void *buffer;
    bool is_clone;
    BufferObject *device_buffer;
} BufferRef;

typedef struct {
    int format;
    int32_t width, height, linesize[3], bits_per_pixel;
} FrameProperties;

typedef struct {
    BufferRef data[3];
    void **side_data;
    FrameProperties properties;
    Fraction time_base, frame_rate;
    uint64_t pts;
    int32_t is_idr, do_not_encode, is_last_frame;
} Frame;

typedef struct {
    BufferRef data;
    int32_t alloc_size, is_eof, pts, poc;
} DataBuffer;

typedef struct {
    char *name;
    int32_t user_type;
    int type;
    size_t length;
    void *value;
} Parameter;

typedef struct {
    void *signature;
    int32_t session_id;
    int session_type;
    struct {
        uint32_t dev_index;
        int32_t bank_index;
        void *private_;
        uint32_t reserved[4];
    } hardware;
    int32_t channel_id;
    void *plugin_data, *stats;
} Session;

typedef struct {
    int32_t cu_index;
    bool finished;
    union {
        uint32_t id;
        int32_t return_code;
    };
    union {
        int32_t serial;
        int state;
    };
    void *private_;
} Command;

/* What the properties of all kinds of sessions with a compute unit end with. */
#define PARAMETERS \
    Parameter *params; \
    uint32_t param_cnt;
#define PLACE \
    int32_t dev_index, cu_index; \
    char *cu_name; \
    int32_t ddr_bank_index, channel_id; \
    char *plugin_lib; \
    bool ooo_execution; \
    int32_t reserved[4];

typedef struct {
    int type;
    char vendor[256];
    int format;
    int32_t bits_per_pixel, width, height;
    Fraction time_base, frame_rate;
    int32_t bitrate, qp, gop_size, idr_interval, lookahead_depth;
    int32_t qp_offset_i, qp_offset_b0, qp_offset_b1, qp_offset_b2;
    int32_t temporal_aq_gain, spatial_aq_gain, aq_mode, min_qp, rc_mode, la_depth, force_param;
    PARAMETERS PLACE
} EncoderProperties;

typedef struct {
    int type;
    char vendor[256];
    int32_t intra_only;
    PARAMETERS
    int32_t bits_per_pixel, width, height;
    Fraction frame_rate;
    int32_t chroma_width, chroma_height, chroma_planes;
    PLACE
} DecoderProperties;

typedef struct {
    int format;
    int32_t bits_per_pixel, width, height;
    Fraction frame_rate;
    int32_t stride, filter_index, coefficients_from;
    char coefficient_file[1024];
} ScalerPort;

typedef struct {
    int type;
    void *destination;
    uint32_t max_outputs;
    char vendor[256];
    int32_t num_outputs;
    int16_t coefficients[8][64][12];
    ScalerPort input, output[8];
    PARAMETERS PLACE
} ScalerProperties;

typedef struct {
    int format;
    int32_t bits_per_pixel, width, height;
    Fraction frame_rate;
    int32_t stride;
    PARAMETERS
} FilterPort;

typedef struct {
    int type;
    void *destination;
    char vendor[256];
    FilterPort input, output;
    PARAMETERS PLACE
} FilterProperties;

typedef struct {
    int type;
    char vendor[256];
    PARAMETERS PLACE
} KernelProperties;

/* A kind of session, and of plugin: what comes before the callbacks differs, and so do these. */
#define KIND(Name, FORMATS, CALLBACKS) \
    typedef struct { \
        Session base; \
        Name##Properties properties; \
        void *plugin, *private_data; \
        int32_t private_size; \
        uint32_t reserved[4]; \
    } Name##Session; \
    typedef struct { \
        int type; \
        const char *vendor; \
        FORMATS size_t plugin_data_size; \
        int32_t (*init)(Name##Session *); \
        CALLBACKS(Name##Session) \
        int32_t (*close)(Name##Session *); \
        int32_t (*xma_version)(int32_t *, int32_t *); \
        uint32_t reserved[4]; \
    } Name##Plugin;

#define ENCODES(S) \
    int32_t (*send_frame)(S *, Frame *); \
    int32_t (*recv_data)(S *, DataBuffer *, int32_t *);
#define DECODES(S) \
    int32_t (*send_data)(S *, DataBuffer *, int32_t *); \
    int32_t (*get_properties)(S *, FrameProperties *); \
    int32_t (*recv_frame)(S *, Frame *);
#define SCALES(S) \
    int32_t (*send_frame)(S *, Frame *); \
    int32_t (*recv_frame_list)(S *, Frame **);
#define FILTERS(S) \
    int32_t (*send_frame)(S *, Frame *); \
    int32_t (*recv_frame)(S *, Frame *);
#define WRITES(S) \
    int32_t (*write)(S *, Parameter *, int32_t); \
    int32_t (*read)(S *, Parameter *, int32_t *);
#define NOTHING

KIND(Encoder, int format; int32_t bits_per_pixel;, ENCODES)
KIND(Decoder, NOTHING, DECODES)
KIND(Scaler, int input_format; int output_format; int32_t bits_per_pixel;, SCALES)
KIND(Filter, NOTHING, FILTERS)
KIND(Kernel, NOTHING, WRITES)

/* libxma2plugin */
BufferObject xma_plg_buffer_alloc(Session, size_t size, bool device_only, int32_t *result);
BufferObject xma_plg_buffer_alloc_arg_num(
    Session, size_t size, bool device_only, int32_t argument, int32_t *result);
void xma_plg_buffer_free(Session, BufferObject);
int32_t xma_plg_buffer_write(Session, BufferObject, size_t size, size_t offset);
int32_t xma_plg_buffer_read(Session, BufferObject, size_t size, size_t offset);
Command xma_plg_schedule_work_item(Session, void *registers, int32_t nbytes, int32_t *result);
int32_t xma_plg_is_work_item_done(Session, uint32_t milliseconds);
int32_t xma_plg_add_buffer_to_frame(Frame *, BufferObject **, uint32_t count);

#endif
