/* Sanitizer builds only: keeps plugins mapped, so that leak reports name them.
 */
int dlclose(void *handle);

int dlclose(void *handle)
{
    (void)handle;
    return 0;
}
