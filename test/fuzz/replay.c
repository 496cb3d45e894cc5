/* Runs a fuzz target on each file of its corpus: `replay_NAME FOLDER...`. A build without libFuzzer
 * has this as the program's main. A crash is after the line that names the file. */
#include "fuzz.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>

/* An input larger than this is not kept in a corpus. */
#define INPUT_MAX ((size_t)4 << 20)

static bool run_file(const char *path)
{
    FILE *f = fopen(path, "r");
    if (!f) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return false;
    }
    char *bytes = xcalloc(INPUT_MAX, 1);
    size_t n = fread(bytes, 1, INPUT_MAX, f);
    bool whole = feof(f) && !ferror(f);
    (void)fclose(f);
    if (whole) {
        (void)puts(path);
        (void)fflush(stdout);
        /* Exactly as long as the input, so that a sanitizer sees a step beyond it. */
        bytes = xrealloc(bytes, n, 1);
        (void)LLVMFuzzerTestOneInput((const uint8_t *)bytes, n);
    } else {
        (void)fprintf(stderr, "%s: cannot be read whole\n", path);
    }
    free(bytes);
    return whole;
}

/* The number of files run, or -1. */
static int run_folder(const char *folder)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, NULL, alphasort);
    if (n < 0) {
        (void)fprintf(stderr, "%s: %s\n", folder, strerror(errno));
        return -1;
    }
    int files = 0;
    for (int i = 0; i < n; i++) {
        if (entries[i]->d_name[0] != '.' && files >= 0) {
            _cleanup_free_ char *path = xasprintf("%s/%s", folder, entries[i]->d_name);
            files = run_file(path) ? files + 1 : -1;
        }
        free(entries[i]);
    }
    free(entries);
    return files;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        int files = run_folder(argv[i]);
        if (files < 0)
            return 1;
        total += files;
    }
    (void)LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    (void)printf("%d inputs\n", total);
    return total > 0 ? 0 : 1; /* an empty corpus tests nothing */
}
