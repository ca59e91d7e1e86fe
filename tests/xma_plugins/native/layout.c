/* Sizes of structures and offsets of fields, as the compiler has them: a line for each. */

#include <stdio.h>

#include "xma.h"

#define SIZE(Type) printf(#Type " %zu\n", sizeof(Type));
#define FIELD(Type, field) printf(#Type "." #field " %zu\n", offsetof(Type, field));
#define KINDS(Each) Each(Encoder) Each(Decoder) Each(Scaler) Each(Filter) Each(Kernel)
#define SIZES(Name) SIZE(Name##Properties) SIZE(Name##Session) SIZE(Name##Plugin)
#define FIELDS(Name) \
    FIELD(Name##Properties, vendor) \
    FIELD(Name##Properties, param_cnt) \
    FIELD(Name##Properties, plugin_lib) \
    FIELD(Name##Properties, ooo_execution) \
    FIELD(Name##Session, plugin) \
    FIELD(Name##Plugin, plugin_data_size) \
    FIELD(Name##Plugin, xma_version)

int main(void) {
    SIZE(BufferObject) SIZE(BufferRef) SIZE(FrameProperties) SIZE(Frame) SIZE(DataBuffer)
    SIZE(Parameter) SIZE(Session)
    FIELD(BufferRef, device_buffer) FIELD(Frame, properties) FIELD(Frame, pts)
    FIELD(Frame, is_last_frame) FIELD(DataBuffer, pts) FIELD(Session, plugin_data)
    KINDS(SIZES)
    KINDS(FIELDS)
    return 0;
}
