/*
 * Writes small VOC folders for the tests of preprocess: annotation texts as
 * macros, and files below a scratch folder.
 */
#ifndef VOCDIST_TESTS_VOC_H
#define VOCDIST_TESTS_VOC_H

#include "check.h"

#include "base/alloc.h"
#include "base/file.h"

/* Writes FOLDER/NAME and creates its folders. */
static inline void voc_write(const char *folder, const char *name,
                             const void *bytes, size_t n)
{
    char *path = xasprintf("%s/%s", folder, name);
    char *parent = file_dirname(path);
    assert_int_equal(file_make_folder(parent), VD_OK);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    free(parent);
    free(path);
}

static inline void voc_text(const char *folder, const char *name,
                            const char *text)
{
    voc_write(folder, name, text, strlen(text));
}

/* An <object>; the coordinates are text, so they may be malformed. */
#define VOC_OBJECT(name, difficult, xmin, ymin, xmax, ymax)             \
    "<object><name>" name "</name><difficult>" difficult "</difficult>" \
    "<bndbox><xmin>" xmin "</xmin><ymin>" ymin "</ymin><xmax>" xmax     \
    "</xmax><ymax>" ymax "</ymax></bndbox></object>\n"

#define VOC_SIZE(w, h) \
    "<size><width>" w "</width><height>" h "</height></size>\n"

#define VOC_FILE(head, objects) "<annotation>\n" head objects "</annotation>\n"

#endif
