/*
 * Output folders: staging and publishing. All files are written to
 * FOLDER/.packing; when all splits are complete there, they are published:
 *
 *   1. for each split: remove the old data set in FOLDER, pack.json first;
 *      rename shards and labels.csv; fsync the folder
 *   2. for each split: rename pack.json; fsync the folder
 *
 * A failed run therefore leaves no files, and a data set that is to be replaced
 * stays until the new one is complete. A folder without pack.json is
 * unfinished, so the files of a killed run are never read as a data set.
 */
#include "base/alloc.h"
#include "base/file.h"
#include "preprocess/pack_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *pack_staging_dir(const struct pack *p, int split)
{
    return xasprintf("%s/.packing", p->folders[split]);
}

char *pack_shard_path(const struct pack *p, const struct pack_job *job,
                      bool is_staged)
{
    return xasprintf("%s%s/shard-%05zu.h5", p->folders[job->split],
                     is_staged ? "/.packing" : "", job->index);
}

/* ---- removing ---- */

static enum vd_err remove_file(const char *folder, const char *name)
{
    enum vd_err err = VD_OK;
    char *path = xasprintf("%s/%s", folder, name);
    if (unlink(path) < 0 && errno != ENOENT)
        err = VD_FAIL(VD_CREATE, "%s: cannot be replaced: %s", path,
                      strerror(errno));
    free(path);
    return err;
}

/* pack.json first: without it the data set is unfinished. */
static enum vd_err remove_data_set(const char *folder)
{
    enum vd_err err = VD_OK;
    struct file_list list = {0};
    VD_TRY(remove_file(folder, "pack.json"));
    VD_TRY(file_list_read(&list, folder));
    for (size_t i = 0; err == VD_OK && i < list.n; i++) {
        const char *name = list.names[i];
        if (!strncmp(name, "shard-", 6) || !strncmp(name, "labels.csv", 10) ||
            !strncmp(name, "pack.json", 9)) /* or their temporary files */
            err = remove_file(folder, list.names[i]);
    }
    file_list_clear(&list);
    return err;
}

static enum vd_err remove_staging(const struct pack *p, int split)
{
    char *folder = pack_staging_dir(p, split);
    enum vd_err err = VD_OK;
    if (file_is_folder(folder)) {
        err = remove_data_set(folder);
        if (err == VD_OK && rmdir(folder) < 0)
            err = VD_FAIL(VD_CREATE, "%s: cannot be removed: %s", folder,
                          strerror(errno));
    }
    free(folder);
    return err;
}

/* A failure is logged; the caller is failing already. */
void pack_discard(const struct pack *p)
{
    for (int k = 0; k < p->dataset.n_splits; k++)
        if (remove_staging(p, k) != VD_OK)
            return;
}

/* ---- preparing ---- */

static bool is_finished(const char *folder)
{
    char *manifest = xasprintf("%s/pack.json", folder);
    bool is_there = file_exists(manifest);
    free(manifest);
    return is_there;
}

static enum vd_err prepare_split(const struct pack *p, int split)
{
    const char *folder = p->folders[split];
    VD_TRY(file_make_folder(folder));
    VD_TRY(remove_staging(p, split));
    if (!is_finished(folder))
        VD_TRY(remove_data_set(folder));
    char *staging = pack_staging_dir(p, split);
    enum vd_err err = file_make_folder(staging);
    free(staging);
    return err;
}

enum vd_err pack_prepare(const struct pack *p)
{
    enum vd_err err = VD_OK;
    for (int k = 0; k < p->dataset.n_splits; k++)
        if (!p->options->overwrite && is_finished(p->folders[k]))
            return VD_FAIL(VD_CREATE,
                           "%s: already contains a finished data set\nchoose "
                           "another folder, or replace it with --overwrite",
                           p->folders[k]);
    for (int k = 0; err == VD_OK && k < p->dataset.n_splits; k++)
        err = prepare_split(p, k);
    if (err != VD_OK)
        pack_discard(p);
    return err;
}

/* ---- publishing ---- */

static enum vd_err rename_file(const char *from, const char *to)
{
    if (rename(from, to) < 0)
        return VD_FAIL(VD_IO, "%s: cannot be moved to %s: %s", from, to,
                       strerror(errno));
    return VD_OK;
}

static enum vd_err publish_file(const struct pack *p, int split,
                                const char *name)
{
    char *staging = pack_staging_dir(p, split);
    char *from = xasprintf("%s/%s", staging, name);
    char *to = xasprintf("%s/%s", p->folders[split], name);
    enum vd_err err = rename_file(from, to);
    free(to);
    free(from);
    free(staging);
    return err;
}

/* Uses the jobs' names, not a listing: on a network file system, files of other
 * nodes may not be listed yet. */
static enum vd_err publish_shards(const struct pack *p, int split)
{
    enum vd_err err = VD_OK;
    for (size_t j = 0; err == VD_OK && j < p->n_jobs; j++) {
        if (p->jobs[j].split != split || !p->outcomes[j].n_images)
            continue;
        char *from = pack_shard_path(p, &p->jobs[j], true);
        char *to = pack_shard_path(p, &p->jobs[j], false);
        err = rename_file(from, to);
        free(to);
        free(from);
    }
    return err;
}

static enum vd_err publish_all(const struct pack *p)
{
    for (int k = 0; k < p->dataset.n_splits; k++) {
        VD_TRY(remove_data_set(p->folders[k]));
        VD_TRY(publish_shards(p, k));
        VD_TRY(publish_file(p, k, "labels.csv"));
        VD_TRY(file_sync(p->folders[k], p->folders[k]));
    }
    for (int k = 0; k < p->dataset.n_splits; k++) {
        VD_TRY(publish_file(p, k, "pack.json"));
        VD_TRY(file_sync(p->folders[k], p->folders[k]));
    }
    return VD_OK;
}

enum vd_err pack_publish(const struct pack *p)
{
    enum vd_err err = publish_all(p);
    for (int k = 0; k < p->dataset.n_splits; k++)
        if (err == VD_OK)
            VD_TRY(remove_staging(p, k));
        else if (remove_data_set(p->folders[k]) != VD_OK)
            return err;
    return err;
}
