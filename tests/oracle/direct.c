/*
 * Linked into oracle_driver_direct, whose linker sends calls of api_conv()
 * here: a oneDNN without Winograd (as 3.x is). The backend then uses direct
 * convolutions everywhere, in the widest vectors there are, which no setting
 * of vocdist can bring about.
 */
#include "backend/cpu/cpu_dnnl_api.h"

dnnl_status_t __real_api_conv(dnnl_engine_t engine, const struct api_request *r,
                              dnnl_primitive_desc_t *pd);
dnnl_status_t __wrap_api_conv(dnnl_engine_t engine, const struct api_request *r,
                              dnnl_primitive_desc_t *pd);

dnnl_status_t __wrap_api_conv(dnnl_engine_t engine, const struct api_request *r,
                              dnnl_primitive_desc_t *pd)
{
    if (r->algorithm == dnnl_convolution_winograd)
        return dnnl_unimplemented;
    return __real_api_conv(engine, r, pd);
}
