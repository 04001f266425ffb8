#include "run/checkpoint_kind.h"

#include "store/file_kind.h"

#define RUN_FOLDER                                   \
    "give a run's folder (runs/NAME) or one of its " \
    "checkpoints/step-*.h5"

enum vd_err checkpoint_check_kind(const char *path)
{
    enum file_kind kind;
    VD_TRY(file_kind_detect(path, &kind));
    switch (kind) {
    case FILE_KIND_SAFETENSORS:
        return VD_FAIL(VD_DATA,
                       "%s: a safetensors file, not a checkpoint\n"
                       "evaluate it: vocdist eval --weights %s; to start a run "
                       "with its weights: --model.weights",
                       path, path);
    case FILE_KIND_ZIP:
    case FILE_KIND_PICKLE:
        return VD_FAIL(VD_DATA,
                       "%s: a %s, as torch.save() writes it, not a checkpoint "
                       "of vocdist\n"
                       "convert it to safetensors (README) and give it as "
                       "weights",
                       path,
                       kind == FILE_KIND_ZIP ? "zip archive" : "Python pickle");
    case FILE_KIND_FOLDER:
        return VD_FAIL(VD_DATA, "%s: a folder, not a checkpoint\n" RUN_FOLDER,
                       path);
    case FILE_KIND_JSON:
        return VD_FAIL(VD_DATA, "%s: JSON text, not a checkpoint\n" RUN_FOLDER,
                       path);
    case FILE_KIND_LFS_POINTER:
        return file_kind_fail_lfs_pointer(path);
    case FILE_KIND_EMPTY:
        return VD_FAIL(VD_DATA,
                       "%s: an empty file\nuse an older checkpoint of the run",
                       path);
    case FILE_KIND_HDF5:
    case FILE_KIND_OTHER:
        break;
    }
    return VD_OK;
}

enum vd_err checkpoint_check_contents(struct h5_file *f, const char *path)
{
    if (h5_has(f, "param"))
        return VD_OK;
    if (h5_has(f, "images"))
        return VD_FAIL(
            VD_DATA,
            "%s: a shard of images, not a checkpoint\n"
            "give its folder as --data; for the checkpoint " RUN_FOLDER,
            path);
    return VD_FAIL(VD_DATA,
                   "%s: an HDF5 file of another program, not a checkpoint of "
                   "vocdist\n" RUN_FOLDER,
                   path);
}
