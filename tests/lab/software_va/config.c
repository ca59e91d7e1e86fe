/* What the software driver offers to do, and the configurations that say which of it is wanted. */
#include "software_va.h"

static const Offer offers[] = {
    { VAProfileNone, VAEntrypointVideoProc, &processing,
      { VA_FOURCC_NV12, VA_FOURCC_P010, VA_FOURCC_I420, VA_FOURCC_Y800, VA_FOURCC_BGRA,
        VA_FOURCC_BGRX, VA_FOURCC_RGBA } },
    { VAProfileVP9Profile0, VAEntrypointVLD, &vp9_decoding, { VA_FOURCC_NV12 } },
    { VAProfileVP9Profile2, VAEntrypointVLD, &vp9_decoding, { VA_FOURCC_P010 } },
    { VAProfileH264ConstrainedBaseline, VAEntrypointEncSlice, &h264_encoding,
      { VA_FOURCC_NV12, VA_FOURCC_I420 } },
};
static const unsigned offer_count = sizeof offers / sizeof *offers;

bool offer_takes(const Offer *offer, uint32_t fourcc)
{
    for (const uint32_t *taken = offer->fourcc; *taken; taken++)
        if (*taken == fourcc)
            return true;
    return false;
}

static uint32_t rt_formats(const Offer *offer)
{
    uint32_t found = 0;
    for (const uint32_t *taken = offer->fourcc; *taken; taken++)
        found |= find_format(*taken)->rt_format;
    return found;
}

/* Why there is none is told by the status. */
static VAStatus find_offer(VAProfile profile, VAEntrypoint entrypoint, const Offer **found)
{
    VAStatus status = VA_STATUS_ERROR_UNSUPPORTED_PROFILE;
    for (unsigned i = 0; i < offer_count; i++)
        if (offers[i].profile == profile) {
            *found = &offers[i];
            if (offers[i].entrypoint == entrypoint)
                return VA_STATUS_SUCCESS;
            status = VA_STATUS_ERROR_UNSUPPORTED_ENTRYPOINT;
        }
    return status;
}

static VAStatus query_config_profiles(VADriverContextP context, VAProfile *list, int *count)
{
    for (unsigned i = 0; i < offer_count; i++)
        list[i] = offers[i].profile;
    *count = offer_count;
    return VA_STATUS_SUCCESS;
}

/* No profile has two. */
static VAStatus query_config_entrypoints(VADriverContextP context, VAProfile profile,
                                         VAEntrypoint *list, int *count)
{
    const Offer *offer = NULL;
    find_offer(profile, 0, &offer);
    *count = offer ? 1 : 0;
    if (!offer)
        return VA_STATUS_ERROR_UNSUPPORTED_PROFILE;
    list[0] = offer->entrypoint;
    return VA_STATUS_SUCCESS;
}

/* One reference frame before, and none after: no B frames. */
static uint32_t encoder_attribute(VAConfigAttribType type)
{
    switch (type) {
    case VAConfigAttribRateControl:
        return VA_RC_CQP;
    case VAConfigAttribEncPackedHeaders:
        return VA_ENC_PACKED_HEADER_SEQUENCE | VA_ENC_PACKED_HEADER_PICTURE
               | VA_ENC_PACKED_HEADER_SLICE | VA_ENC_PACKED_HEADER_MISC
               | VA_ENC_PACKED_HEADER_RAW_DATA;
    case VAConfigAttribEncMaxRefFrames:
        return 1;
    case VAConfigAttribEncMaxSlices:
        return MAX_LENGTH / 16;
    case VAConfigAttribEncSliceStructure:
        return VA_ENC_SLICE_STRUCTURE_ARBITRARY_MACROBLOCKS;
    default:
        return VA_ATTRIB_NOT_SUPPORTED;
    }
}

static uint32_t attribute(const Offer *offer, VAConfigAttribType type)
{
    switch (type) {
    case VAConfigAttribRTFormat:
        return rt_formats(offer);
    case VAConfigAttribMaxPictureWidth:
    case VAConfigAttribMaxPictureHeight:
        return MAX_LENGTH;
    default:
        return offer->entrypoint == VAEntrypointEncSlice ? encoder_attribute(type)
                                                         : VA_ATTRIB_NOT_SUPPORTED;
    }
}

static VAStatus get_config_attributes(VADriverContextP context, VAProfile profile,
                                      VAEntrypoint entrypoint, VAConfigAttrib *list, int count)
{
    const Offer *offer;
    VAStatus status = find_offer(profile, entrypoint, &offer);
    for (int i = 0; status == VA_STATUS_SUCCESS && i < count; i++)
        list[i].value = attribute(offer, list[i].type);
    return status;
}

static VAStatus create_config(VADriverContextP context, VAProfile profile, VAEntrypoint entrypoint,
                              VAConfigAttrib *list, int count, VAConfigID *id)
{
    const Offer *offer;
    VAStatus status = find_offer(profile, entrypoint, &offer);
    if (status != VA_STATUS_SUCCESS)
        return status;
    for (int i = 0; i < count; i++)
        if (list[i].type == VAConfigAttribRTFormat && !(list[i].value & rt_formats(offer)))
            return VA_STATUS_ERROR_UNSUPPORTED_RT_FORMAT;
    *id = add_slot(driver_of(context), CONFIG, (void *)offer);
    return *id ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_MAX_NUM_EXCEEDED;
}

static VAStatus destroy_config(VADriverContextP context, VAConfigID id)
{
    return take_slot(driver_of(context), id, CONFIG) ? VA_STATUS_SUCCESS
                                                     : VA_STATUS_ERROR_INVALID_CONFIG;
}

static VAStatus query_config_attributes(VADriverContextP context, VAConfigID id,
                                        VAProfile *profile, VAEntrypoint *entrypoint,
                                        VAConfigAttrib *list, int *count)
{
    const Offer *offer = find_slot(driver_of(context), id, CONFIG);
    if (!offer)
        return VA_STATUS_ERROR_INVALID_CONFIG;
    *profile = offer->profile;
    *entrypoint = offer->entrypoint;
    *count = 0;
    for (int type = 0; type < VAConfigAttribTypeMax; type++)
        if (attribute(offer, type) != VA_ATTRIB_NOT_SUPPORTED)
            list[(*count)++] = (VAConfigAttrib){ type, attribute(offer, type) };
    return VA_STATUS_SUCCESS;
}

void offer_configs(VADriverContextP context)
{
    struct VADriverVTable *table = context->vtable;
    context->max_profiles = offer_count;
    context->max_entrypoints = 1;
    context->max_attributes = VAConfigAttribTypeMax;
    table->vaQueryConfigProfiles = query_config_profiles;
    table->vaQueryConfigEntrypoints = query_config_entrypoints;
    table->vaGetConfigAttributes = get_config_attributes;
    table->vaCreateConfig = create_config;
    table->vaDestroyConfig = destroy_config;
    table->vaQueryConfigAttributes = query_config_attributes;
}
