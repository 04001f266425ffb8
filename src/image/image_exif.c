/* The EXIF orientation, by libexif; no other file uses it. */
#include "image/image_internal.h"

#include <libexif/exif-data.h>

int image_exif_orientation(const uint8_t *bytes, size_t n)
{
    int orientation = 1;
    ExifData *data = exif_data_new();
    if (!data)
        return orientation;
    /* by default libexif "corrects" a block and adds missing entries */
    exif_data_unset_option(data, EXIF_DATA_OPTION_FOLLOW_SPECIFICATION);
    exif_data_load_data(data, bytes, (unsigned)n);

    const ExifEntry *entry =
        exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
    if (entry && entry->format == EXIF_FORMAT_SHORT && entry->size >= 2) {
        int value = exif_get_short(entry->data, exif_data_get_byte_order(data));
        if (value >= 1 && value <= 8)
            orientation = value;
    }
    exif_data_unref(data);
    return orientation;
}
