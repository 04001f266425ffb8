/*
 * Simulates a oneDNN without Winograd convolutions (like 3.x). Linked into
 * oracle_driver_direct with --wrap=api_conv, so that the linker redirects calls
 * of api_conv() here. The backend then uses direct convolutions everywhere, in
 * the widest vectors of the processor. No setting of vocdist does that.
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
