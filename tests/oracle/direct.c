/*
 * Linked into oracle_driver_direct, whose linker sends calls of
 * dnnl_primitive_desc_create() here: a oneDNN without Winograd. The backend
 * then takes direct convolutions everywhere, in the widest vectors there are,
 * which no setting of vocdist can bring about.
 */
#include <dnnl.h>

dnnl_status_t __real_dnnl_primitive_desc_create(dnnl_primitive_desc_t *out,
                                                const_dnnl_op_desc_t desc,
                                                const_dnnl_primitive_attr_t a,
                                                dnnl_engine_t engine,
                                                const_dnnl_primitive_desc_t h);
dnnl_status_t __wrap_dnnl_primitive_desc_create(dnnl_primitive_desc_t *out,
                                                const_dnnl_op_desc_t desc,
                                                const_dnnl_primitive_attr_t a,
                                                dnnl_engine_t engine,
                                                const_dnnl_primitive_desc_t h);

dnnl_status_t __wrap_dnnl_primitive_desc_create(dnnl_primitive_desc_t *out,
                                                const_dnnl_op_desc_t desc,
                                                const_dnnl_primitive_attr_t a,
                                                dnnl_engine_t engine,
                                                const_dnnl_primitive_desc_t h)
{
    const dnnl_convolution_desc_t *conv = desc;
    if (conv->primitive_kind == dnnl_convolution &&
        conv->alg_kind == dnnl_convolution_winograd)
        return dnnl_unimplemented;
    return __real_dnnl_primitive_desc_create(out, desc, a, engine, h);
}
