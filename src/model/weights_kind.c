/* Errors for files of another kind that are given as weights. */
#include "model/weights_kind.h"

#include "store/file_kind.h"

#define CONVERT                                                       \
    "convert it: python3 -c \"import torch, safetensors.torch as s; " \
    "s.save_file(torch.load('%s', map_location='cpu'), "              \
    "'net.safetensors')\" (if the file holds a whole model or a "     \
    "checkpoint, save its state_dict)"

/* A .pth file, the most common mistake. */
static enum vd_err fail_torch_file(const char *path, enum file_kind kind)
{
    if (kind == FILE_KIND_ZIP)
        return VD_FAIL(VD_DATA,
                       "%s: a zip archive, as torch.save() writes it, not "
                       "safetensors\n" CONVERT,
                       path, path);
    return VD_FAIL(VD_DATA,
                   "%s: a Python pickle, as torch.save() wrote it before "
                   "PyTorch 1.6, not safetensors\n" CONVERT,
                   path, path);
}

enum vd_err weights_check_kind(const char *path)
{
    enum file_kind kind;
    VD_TRY(file_kind_detect(path, &kind));
    switch (kind) {
    case FILE_KIND_ZIP:
    case FILE_KIND_PICKLE:
        return fail_torch_file(path, kind);
    case FILE_KIND_HDF5:
        return VD_FAIL(
            VD_DATA,
            "%s: an HDF5 file, not safetensors\n"
            "if it is a vocdist checkpoint, convert it: vocdist export "
            "--checkpoint %s -o net.safetensors; or evaluate it: vocdist eval "
            "--checkpoint",
            path, path);
    case FILE_KIND_FOLDER:
        return VD_FAIL(VD_DATA,
                       "%s: a folder, not a weight file\n"
                       "give a file: a finished run has "
                       "weights/last.safetensors and weights/best.safetensors, "
                       "and vocdist export converts any checkpoint",
                       path);
    case FILE_KIND_JSON:
        return VD_FAIL(
            VD_DATA,
            "%s: JSON text, not safetensors\n"
            "give the .safetensors file; for an index.json, load all "
            "files that it lists and save them as one",
            path);
    case FILE_KIND_LFS_POINTER:
        return file_kind_fail_lfs_pointer(path);
    case FILE_KIND_EMPTY:
        return VD_FAIL(VD_DATA, "%s: an empty file\ncopy or download it again",
                       path);
    case FILE_KIND_SAFETENSORS:
    case FILE_KIND_OTHER:
        break;
    }
    return VD_OK;
}
