/* Arbitrary bytes as an image: JPEG, PNG, and the EXIF blocks inside them. */
#include "base/log.h"
#include "image/image_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct image im = {0};
    /* at most 65536 pixels: many small inputs find more than a few large ones
     */
    const struct image_input in = {"fuzz", bytes, n, 1 << 16};
    log_set_sink(log_discard, NULL);
    if (image_decode_input(&in, &im, NULL) == VD_OK)
        image_clear(&im);
    log_set_sink(NULL, NULL);
    return 0;
}
