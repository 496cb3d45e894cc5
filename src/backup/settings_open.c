/* The repository that the settings name. */
#include "backup/settings.h"

int backup_settings_store(const BackupSettings *s, const char *cache_dir, const StoreOptions *o,
                          Store **ret, Err *err)
{
    if (s->folder)
        return store_folder(s->folder, true, o, ret, err);
    if (s->urls)
        return store_urls(s->urls, o, ret, err);
    CloudConfig config = {0};
    int r = cloud_config_load(s->cloud, &config, err);
    if (r == 0)
        r = store_swift(&(StoreSwift){.config = &config,
                                      .cache_dir = cache_dir,
                                      .container = s->container,
                                      .prefix = s->prefix},
                        o, ret, err);
    cloud_config_clear(&config);
    return r < 0 ? err_wrap(err, "opening the repository of %s", s->path) : 0;
}
