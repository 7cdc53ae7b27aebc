/* SPDX-License-Identifier: BSD-3-Clause */
#include "neighbours.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

/* Whether the library itself, none that it needs, has the entry point of Mosquitto's plugins. */
static bool is_plugin(const struct link_map *library)
{
    static const char *const entries[] = {"mosquitto_plugin_init", "mosquitto_auth_plugin_init"};
    void *handle = dlopen(library->l_name, RTLD_LAZY | RTLD_NOLOAD);
    bool found = false;
    for (size_t i = 0; handle != NULL && !found && i < sizeof entries / sizeof entries[0]; i++) {
        const void *entry = dlsym(handle, entries[i]);
        Dl_info where;
        found = entry != NULL && dladdr(entry, &where) != 0 &&
                strcmp(where.dli_fname, library->l_name) == 0;
    }
    if (handle != NULL) {
        (void)dlclose(handle);
    }
    return found;
}

bool ota_neighbours_before(char *name, size_t size)
{
    static const char ours;
    Dl_info self;
    struct link_map *library = NULL;
    void *program = dlopen(NULL, RTLD_LAZY);
    bool found = false;
    if (program == NULL || dladdr(&ours, &self) == 0 ||
        dlinfo(program, RTLD_DI_LINKMAP, &library) != 0) {
        library = NULL;
    }
    /* The list is in the order of loading; the broker loads plugins in the order of their lines. */
    for (; library != NULL && !found; library = library->l_next) {
        if (library->l_name[0] == '\0') {
            continue; /* the program */
        }
        if (strcmp(library->l_name, self.dli_fname) == 0) {
            break;
        }
        found = is_plugin(library);
        if (found) {
            const char *slash = strrchr(library->l_name, '/');
            (void)snprintf(name, size, "%s", slash != NULL ? slash + 1 : library->l_name);
        }
    }
    if (program != NULL) {
        (void)dlclose(program);
    }
    return found;
}
