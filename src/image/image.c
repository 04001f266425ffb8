#include "image/image.h"

#include "base/alloc.h"
#include "image/image_internal.h"

enum vd_err image_new(struct image *im, int width, int height)
{
    VD_ASSERT(width > 0 && height > 0);
    size_t n_pixels = 0;
    void *rgb = NULL;
    if (!alloc_mul_size((size_t)width, (size_t)height, &n_pixels))
        return VD_FAIL(VD_SYSTEM, "image: the size exceeds the address space");
    VD_TRY(alloc_aligned(&rgb, n_pixels, 3, "image"));
    *im = (struct image){rgb, width, height};
    return VD_OK;
}

void image_clear(struct image *im)
{
    alloc_aligned_free(im->rgb);
    *im = (struct image){0};
}

enum vd_err image_check_size(const struct image_input *in, uint32_t width,
                             uint32_t height)
{
    if (width == 0 || height == 0)
        return VD_FAIL(VD_DATA, "%s: the image is empty (%u x %u pixels)",
                       in->name, width, height);
    if (width > IMAGE_MAX_SIDE || height > IMAGE_MAX_SIDE ||
        (int64_t)width * height > in->max_pixels)
        return VD_FAIL(
            VD_DATA,
            "%s: claims %u x %u pixels; the limit is %lld pixels and "
            "%d a side\n"
            "scale the image down if this is its real size",
            in->name, width, height, (long long)in->max_pixels, IMAGE_MAX_SIDE);
    return VD_OK;
}
