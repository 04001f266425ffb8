#include "train/train_data.h"

#include "base/alloc.h"
#include "base/log.h"

#include <stdlib.h>

/* Metrics on images of the training set do not measure generalization. */
static void warn_of_shared_images(const struct train_data *d,
                                  const struct config *config)
{
    size_t example = 0;
    size_t n = shard_set_count_shared(&d->train, &d->val, &example);
    if (n)
        log_warn_global(
            "%s: %zu of its %zu images are in %s as well, such as "
            "\"%s\"\nvalidate on other images: vocpack pack VOCROOT "
            "--split train,val -o DIR",
            config->data.val, n, d->val.n_images, config->data.train,
            d->val.id[example]);
}

static void warn_of_unlearned_class(const struct train_data *d,
                                    const struct config *config)
{
    bool *learned = xcalloc((size_t)d->train.n_classes, sizeof *learned);
    size_t n_images = 0;
    int32_t example = -1;
    for (size_t i = 0; i < d->train.n_images; i++)
        learned[d->train.class[i]] = true;
    for (size_t i = 0; i < d->val.n_images; i++)
        if (!learned[d->val.class[i]]) {
            n_images++;
            example = d->val.class[i];
        }
    free(learned);
    if (n_images)
        log_warn_global(
            "%s: %zu of its %zu images have a class that is never "
            "in %s, such as \"%s\"\nit cannot be learned: pack with "
            "split lists that have every class in train",
            config->data.val, n_images, d->val.n_images, config->data.train,
            d->val.classes[example]);
}

static enum vd_err check_val(const struct train_data *d,
                             const struct config *config)
{
    const struct shard_set *train = &d->train, *val = &d->val;
    if (val->width == train->width && val->height == train->height &&
        shard_set_has_classes(val, train->classes, train->n_classes))
        return VD_OK;
    return VD_FAIL(VD_DATA,
                   "%s and %s differ in classes or size\n"
                   "pack both in one call (--split train,val), or with the "
                   "same --classes and --size",
                   config->data.train, config->data.val);
}

enum vd_err train_data_open(struct train_data *d, const struct config *config)
{
    VD_TRY(shard_set_open(&d->train, config->data.train));
    if (d->train.width != d->train.height)
        return VD_FAIL(VD_DATA,
                       "%s: images of %d x %d pixels, but they must be square\n"
                       "pack them again with --size N",
                       config->data.train, d->train.width, d->train.height);
    d->has_val = *config->data.val != '\0';
    if (!d->has_val)
        return VD_OK;
    VD_TRY(shard_set_open(&d->val, config->data.val));
    VD_TRY(check_val(d, config));
    warn_of_shared_images(d, config);
    warn_of_unlearned_class(d, config);
    return VD_OK;
}

enum vd_err train_data_compare(const struct train_data *d, struct comm *comm)
{
    VD_TRY(comm_check_equal(comm, SITE_DATA, "the training data",
                            d->train.digest));
    return comm_check_equal(comm, SITE_DATA, "the validation data",
                            train_data_val_digest(d));
}

uint64_t train_data_val_digest(const struct train_data *d)
{
    return d->has_val ? d->val.digest : 0;
}

void train_data_close(struct train_data *d)
{
    shard_set_close(&d->train);
    shard_set_close(&d->val);
}
