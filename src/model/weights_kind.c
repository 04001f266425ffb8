/* Files that are given as weights and are something else. */
#include "model/weights_internal.h"
#include "store/file_kind.h"

#define CONVERT                                                        \
    "convert it: python3 -c \"import torch, safetensors.torch as s; "  \
    "s.save_file(torch.load('%s', map_location='cpu'), "               \
    "'net.safetensors')\" (of a whole model or a checkpoint save the " \
    "state_dict in it)"

/* The commonest mistake: a .pth. */
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
            "of a vocdist checkpoint: vocdist export --checkpoint %s "
            "-o net.safetensors; to evaluate it: vocdist eval "
            "--checkpoint",
            path, path);
    case FILE_KIND_FOLDER:
        return VD_FAIL(VD_DATA,
                       "%s: a folder, not a weight file\n"
                       "give the file: a finished run has "
                       "weights/last.safetensors and weights/best.safetensors, "
                       "and vocdist export writes one of any checkpoint",
                       path);
    case FILE_KIND_JSON:
        return VD_FAIL(VD_DATA,
                       "%s: JSON text, not safetensors\n"
                       "give the .safetensors file; of an index.json load all "
                       "the files it names and save them as one",
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
