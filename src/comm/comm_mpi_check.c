#include "comm/comm_mpi_check.h"

#include <string.h>

enum vd_err comm_mpi_check(int rc, const char *call)
{
    char text[MPI_MAX_ERROR_STRING + 1] = "";
    int length = 0;
    if (rc == MPI_SUCCESS)
        return VD_OK;
    MPI_Error_string(rc, text, &length);
    return VD_FAIL(VD_COMM,
                   "%.*s: %s\n"
                   "check the network between the hosts and the MPI library",
                   (int)strcspn(call, "("), call, text);
}
