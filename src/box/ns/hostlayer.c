/* SPDX-License-Identifier: Apache-2.0 */
/* Building the host layer. First all directories and files are planned in memory, which also
 * tells whether the layer on disk is up to date; then they are written. */
#include "box/ns/hostlayer.h"

#include <arpa/inet.h>
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "box/ns/pem.h"

/* Part of the stamp: raise it when the same inputs shall give another layer. */
enum { LAYER_VERSION = 1 };

static const char default_bundle[] = "/etc/ssl/certs/ca-certificates.crt";

enum {
    LAYER_DIRS_MAX = 32,
    LAYER_FILES_MAX = HOSTLAYER_EXTRA_MAX + 8,
    LAYER_DEPTH_MAX = 64, /* of nested directories when removing */
    LAYER_KEPT_MAX = 1000,
};

struct layer_dir {
    char *path; /* relative to the root, "" is the root itself */
    mode_t mode;
    uid_t uid;
    gid_t gid;
};

struct layer_file {
    char *path;
    char *content;
    size_t len;
};

struct layer {
    int root; /* the template's */
    char *root_path;
    struct layer_dir dirs[LAYER_DIRS_MAX]; /* parents first */
    size_t dir_count;
    struct layer_file files[LAYER_FILES_MAX];
    size_t file_count;
};

static void layer_free(struct layer *layer)
{
    if (layer == NULL)
        return;
    for (size_t i = 0; i < layer->dir_count; i++)
        free(layer->dirs[i].path);
    for (size_t i = 0; i < layer->file_count; i++) {
        free(layer->files[i].path);
        free(layer->files[i].content);
    }
    free(layer->root_path);
    fd_closep(&layer->root);
    free(layer);
}

static void layer_freep(struct layer **layer)
{
    layer_free(*layer);
}

/* ---- looking into the template ---- */

/* Symbolic links are followed as they would be inside: never out of the template. */
static int open_in_root(int root, const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_PATH | O_CLOEXEC),
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    long fd;
    do {
        fd = syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof(how));
    } while (fd < 0 && errno == EAGAIN); /* a rename elsewhere got in the way */
    return fd < 0 ? -errno : (int)fd;
}

static int path_of(int fd, char **ret)
{
    char link[40], target[PATH_MAX];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, target, sizeof(target));
    if (len < 0)
        return -errno;
    if (len == sizeof(target))
        return -ENAMETOOLONG;
    *ret = xstrndup(target, (size_t)len);
    return 0;
}

static bool is_absent(int r)
{
    return r == -ENOENT || r == -ENOTDIR || r == -ELOOP;
}

/* Reads a regular file of the template; what is none counts as absent (*ret stays NULL), since the
 * layer's own file hides it. Looked at before it is opened: opening a FIFO or a device acts. */
static int read_in_root(const struct layer *layer, const char *path, char **ret, size_t *ret_len,
                        struct err *err)
{
    _cleanup_close_ int fd = open_in_root(layer->root, path, 0);
    struct stat st;
    if (is_absent(fd))
        return 0;
    if (fd < 0)
        return err_os(err, -fd, "template: open %s", path);
    if (fstat(fd, &st) < 0)
        return err_os(err, errno, "template: stat %s", path);
    if (!S_ISREG(st.st_mode))
        return 0;
    char self[40];
    (void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    int r = fd_read_file(AT_FDCWD, self, HOSTLAYER_BUNDLE_MAX, ret, ret_len);
    return r < 0 ? err_os(err, -r, "template: read %s", path) : 0;
}

/* Where a directory of the template really is, relative to its root; missing parts keep their
 * names. */
static int resolve_dir(const struct layer *layer, const char *path, char **ret, struct err *err)
{
    _cleanup_close_ int fd = open_in_root(layer->root, path, O_DIRECTORY);
    if (is_absent(fd)) {
        assert(*path != '\0'); /* the root exists */
        struct str parent = path_dir(str_from(path)), name = path_base(str_from(path));
        _cleanup_free_ char *above =
            str_eqz(parent, ".") ? xstrdup("") : xstrndup(parent.p, parent.len);
        _cleanup_free_ char *real = NULL;
        int r = resolve_dir(layer, above, &real, err);
        if (r == 0)
            *ret = xasprintf("%s%s%.*s", real, *real ? "/" : "", STR_ARG(name));
        return r;
    }
    if (fd < 0)
        return err_os(err, -fd, "template: open directory %s", path);
    _cleanup_free_ char *real = NULL;
    int r = path_of(fd, &real);
    if (r < 0)
        return err_os(err, -r, "template: path of %s", path);
    size_t skip = strlen(layer->root_path);
    if (skip == 1) /* the host's own root as a template */
        skip = 0;
    if (strncmp(real, layer->root_path, skip) != 0 || (real[skip] != '/' && real[skip] != '\0'))
        return err_set(err, ERR_PRECONDITION, 0, "template: %s is not below its root", path);
    *ret = xstrdup(real[skip] == '/' ? real + skip + 1 : "");
    return 0;
}

/* ---- planning ---- */

/* Plans a directory with the looks it has in the template, or those of a plain one. */
static int plan_dir(struct layer *layer, const char *path, struct err *err)
{
    for (size_t i = 0; i < layer->dir_count; i++) {
        if (strcmp(layer->dirs[i].path, path) == 0)
            return 0;
    }
    if (layer->dir_count == LAYER_DIRS_MAX)
        return err_set(err, ERR_PRECONDITION, 0, "template: %s is nested too deeply", path);
    struct layer_dir dir = {.mode = 0755};
    struct stat st;
    _cleanup_close_ int fd = open_in_root(layer->root, path, O_DIRECTORY | O_NOFOLLOW);
    if (fd >= 0 && fstat(fd, &st) == 0) {
        dir.mode = st.st_mode & 07777;
        dir.uid = st.st_uid;
        dir.gid = st.st_gid;
    }
    dir.path = xstrdup(path);
    layer->dirs[layer->dir_count++] = dir;
    return 0;
}

/* Plans a directory, wherever the template has it, and all above. *ret is its real path. */
static int plan_dirs(struct layer *layer, const char *path, char **ret, struct err *err)
{
    _cleanup_free_ char *real = NULL;
    int r = resolve_dir(layer, path, &real, err);
    if (r == 0)
        r = plan_dir(layer, "", err);
    for (size_t i = 0; r == 0 && *real != '\0'; i++) {
        if (real[i] != '/' && real[i] != '\0')
            continue;
        _cleanup_free_ char *part = xstrndup(real, i);
        r = plan_dir(layer, part, err);
        if (real[i] == '\0')
            break;
    }
    if (r == 0)
        *ret = TAKE_PTR(real);
    return r;
}

/* Takes content over. */
static void plan_file(struct layer *layer, const char *dir, const char *name, struct buf *content)
{
    assert(layer->file_count < LAYER_FILES_MAX);
    struct layer_file *file = &layer->files[layer->file_count++];
    file->path = xasprintf("%s%s%s", dir, *dir ? "/" : "", name);
    file->len = buf_len(content);
    file->content = xmalloc(file->len + 1);
    memcpy(file->content, buf_str(content).p, file->len);
    buf_done(content);
}

static int plan_names(struct layer *layer, const struct hostlayer_options *options, struct err *err)
{
    enum { SMALL = 4096 };
    _cleanup_free_ char *etc = NULL;
    int r = plan_dirs(layer, "etc", &etc, err);
    if (r < 0)
        return r;
    struct buf text;
    buf_init(&text, SMALL);
    for (unsigned i = 0; r == 0 && i < options->dns_count; i++) {
        char address[INET_ADDRSTRLEN];
        (void)inet_ntop(AF_INET, &options->dns[i], address, sizeof(address));
        r = buf_printf(&text, "nameserver %s\n", address);
    }
    assert(r == 0); /* three short lines */
    plan_file(layer, etc, "resolv.conf", &text);

    buf_init(&text, SMALL);
    r = buf_append_z(&text, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    if (r == 0 && options->hostname != NULL)
        r = buf_printf(&text, "127.0.1.1\t%s\n", options->hostname);
    if (r < 0) {
        buf_done(&text);
        return err_set(err, ERR_INVALID, 0, "the host name is too long");
    }
    plan_file(layer, etc, "hosts", &text);
    return 0;
}

/* The bundle that the operator wants to be trusted; *ret stays NULL for none. */
static int read_host_bundle(const char *path, char **ret, size_t *ret_len, struct err *err)
{
    bool given = path != NULL;
    if (given && strcmp(path, "none") == 0)
        return 0;
    if (!given)
        path = default_bundle;
    int r = fd_read_file(AT_FDCWD, path, HOSTLAYER_BUNDLE_MAX, ret, ret_len);
    if (r == -ENOENT && !given)
        return 0;
    if (r < 0)
        return err_os(err, -r, "read the certificate bundle %s", path);
    struct str rest = {*ret, *ret_len}, block;
    if (given && !pem_next(&rest, &block))
        return err_set(err, ERR_INVALID, 0, "%s holds no PEM certificate", path);
    return 0;
}

static void plan_bundle(struct layer *layer, const char *dir, struct str own,
                        const struct str *extra, size_t count)
{
    struct buf text;
    buf_init(&text, 2 * (size_t)HOSTLAYER_BUNDLE_MAX + HOSTLAYER_EXTRA_MAX + 1);
    int r = buf_append_str(&text, own);
    if (r == 0 && own.len > 0 && own.p[own.len - 1] != '\n')
        r = buf_append_char(&text, '\n');
    for (size_t i = 0; r == 0 && i < count; i++) {
        r = buf_append_str(&text, extra[i]);
        if (r == 0)
            r = buf_append_char(&text, '\n');
    }
    assert(r == 0); /* both bundles were bounded when read */
    plan_file(layer, dir, "ca-certificates.crt", &text);
}

static void plan_single(struct layer *layer, const char *dir, struct str block, size_t number)
{
    char name[32];
    struct buf text;
    buf_init(&text, block.len + 1);
    int r = buf_append_str(&text, block);
    if (r == 0)
        r = buf_append_char(&text, '\n');
    assert(r == 0);
    (void)snprintf(name, sizeof(name), "carrel-%03zu.crt", number);
    plan_file(layer, dir, name, &text);
}

static int plan_certificates(struct layer *layer, const struct hostlayer_options *options,
                             struct err *err)
{
    _cleanup_free_ char *own = NULL, *host = NULL, *certs = NULL, *local = NULL;
    size_t own_len = 0, host_len = 0;
    int r = read_host_bundle(options->ca_bundle, &host, &host_len, err);
    if (r == 0)
        r = read_in_root(layer, default_bundle, &own, &own_len, err);
    if (r < 0)
        return r;
    _cleanup_free_ struct str *extra = xcalloc(HOSTLAYER_EXTRA_MAX, sizeof(*extra));
    struct str have = own != NULL ? (struct str){own, own_len} : STR("");
    struct str add = host != NULL ? (struct str){host, host_len} : STR("");
    size_t count = pem_missing(have, add, extra, HOSTLAYER_EXTRA_MAX);
    if (count > HOSTLAYER_EXTRA_MAX)
        return err_set(err, ERR_PRECONDITION, 0,
                       "%zu certificates are to be added to the template's, more than %d", count,
                       HOSTLAYER_EXTRA_MAX);
    if (count == 0)
        return 0;
    r = plan_dirs(layer, "etc/ssl/certs", &certs, err);
    if (r == 0)
        r = plan_dirs(layer, "usr/local/share/ca-certificates", &local, err);
    if (r == 0)
        plan_bundle(layer, certs, have, extra, count);
    for (size_t i = 0; r == 0 && i < count; i++)
        plan_single(layer, local, extra[i], i + 1);
    return r;
}

static int plan_layer(const char *template_rootfs, const struct hostlayer_options *options,
                      struct layer **ret, struct err *err)
{
    _cleanup_(layer_freep) struct layer *layer = xcalloc(1, sizeof(*layer));
    layer->root = open(template_rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (layer->root < 0)
        return err_os(err, errno, "open the template %s", template_rootfs);
    int r = path_of(layer->root, &layer->root_path);
    if (r < 0)
        return err_os(err, -r, "path of the template %s", template_rootfs);
    r = plan_names(layer, options, err);
    if (r == 0)
        r = plan_certificates(layer, options, err);
    if (r == 0)
        *ret = TAKE_PTR(layer);
    return r;
}

/* ---- the stamp ---- */

static uint64_t hash_bytes(uint64_t hash, const void *p, size_t n)
{
    const unsigned char *bytes = p;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* FNV-1a over all that would be written. A template that is made to collide only keeps its own
 * older layer. */
static void stamp_of(const struct layer *layer, char out[32])
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < layer->dir_count; i++) {
        const struct layer_dir *dir = &layer->dirs[i];
        uint32_t looks[] = {dir->mode, dir->uid, dir->gid};
        hash = hash_bytes(hash, dir->path, strlen(dir->path) + 1);
        hash = hash_bytes(hash, looks, sizeof(looks));
    }
    for (size_t i = 0; i < layer->file_count; i++) {
        const struct layer_file *file = &layer->files[i];
        hash = hash_bytes(hash, file->path, strlen(file->path) + 1);
        hash = hash_bytes(hash, &file->len, sizeof(file->len));
        hash = hash_bytes(hash, file->content, file->len);
    }
    (void)snprintf(out, 32, "%d %016" PRIx64 "\n", LAYER_VERSION, hash);
}

static bool is_current(const char *layer_dir, const char *stamp_path, const char *stamp)
{
    _cleanup_free_ char *old = NULL;
    struct stat st;
    return stat(layer_dir, &st) == 0 && S_ISDIR(st.st_mode) &&
           fd_read_file(AT_FDCWD, stamp_path, 64, &old, NULL) == 0 && strcmp(old, stamp) == 0;
}

/* ---- writing ---- */

static int remove_tree(int at, const char *name, unsigned depth)
{
    if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return -errno;
    if (depth == LAYER_DEPTH_MAX)
        return -ELOOP;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        int r = -errno;
        close(fd);
        return r;
    }
    int r = 0;
    for (struct dirent *entry; r == 0 && (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = remove_tree(dirfd(dir), entry->d_name, depth + 1);
    }
    closedir(dir);
    if (r == 0 && unlinkat(at, name, AT_REMOVEDIR) < 0)
        r = -errno;
    return r;
}

/* The paths were resolved and hold neither links nor dots, and the tree is new and ours. */
static int write_dir(int top, const struct layer_dir *dir)
{
    const char *path = *dir->path ? dir->path : ".";
    if (*dir->path && mkdirat(top, path, 0700) < 0)
        return -errno;
    if (fchownat(top, path, dir->uid, dir->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchmodat(top, path, dir->mode, 0) < 0)
        return -errno;
    return 0;
}

static int write_file(int top, const struct layer_file *file)
{
    _cleanup_close_ int fd =
        openat(top, file->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0 || fchmod(fd, 0644) < 0)
        return -errno;
    return fd_write_all(fd, file->content, file->len);
}

static int write_layer(const struct layer *layer, const char *path, struct err *err)
{
    int r = remove_tree(AT_FDCWD, path, 0);
    if (r < 0)
        return err_os(err, -r, "remove %s", path);
    if (mkdir(path, 0700) < 0)
        return err_os(err, errno, "make %s", path);
    _cleanup_close_ int top = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (top < 0)
        return err_os(err, errno, "open %s", path);
    for (size_t i = 0; i < layer->dir_count; i++) {
        r = write_dir(top, &layer->dirs[i]);
        if (r < 0)
            return err_os(err, -r, "make %s/%s", path, layer->dirs[i].path);
    }
    for (size_t i = 0; i < layer->file_count; i++) {
        r = write_file(top, &layer->files[i]);
        if (r < 0)
            return err_os(err, -r, "write %s/%s", path, layer->files[i].path);
    }
    return 0;
}

static int set_aside(const char *layer_dir, struct err *err)
{
    for (int i = 1; i <= LAYER_KEPT_MAX; i++) {
        _cleanup_free_ char *kept = xasprintf("%s.old-%d", layer_dir, i);
        if (renameat2(AT_FDCWD, layer_dir, AT_FDCWD, kept, RENAME_NOREPLACE) == 0 ||
            errno == ENOENT)
            return 0;
        if (errno != EEXIST)
            return err_os(err, errno, "rename %s", layer_dir);
    }
    return err_set(err, ERR_PRECONDITION, 0, "%s has %d older layers; remove them", layer_dir,
                   LAYER_KEPT_MAX);
}

/* Between the two renames there is no layer, and without the stamp there is none that counts: a
 * crash at any point means building again. */
static int put_in_place(const char *fresh, const char *layer_dir, const char *stamp_path,
                        const char *stamp, struct err *err)
{
    if (unlink(stamp_path) < 0 && errno != ENOENT)
        return err_os(err, errno, "remove %s", stamp_path);
    int r = set_aside(layer_dir, err);
    if (r < 0)
        return r;
    if (rename(fresh, layer_dir) < 0)
        return err_os(err, errno, "rename %s to %s", fresh, layer_dir);
    r = fd_replace_file(AT_FDCWD, stamp_path, stamp, strlen(stamp), 0644);
    return r < 0 ? err_os(err, -r, "write %s", stamp_path) : 0;
}

int hostlayer_build(const char *template_rootfs, const char *layer_dir,
                    const struct hostlayer_options *options, struct err *err)
{
    assert(options->dns_count <= HOSTLAYER_RESOLVERS);
    _cleanup_(layer_freep) struct layer *layer = NULL;
    int r = plan_layer(template_rootfs, options, &layer, err);
    if (r < 0)
        return r;
    char stamp[32];
    stamp_of(layer, stamp);
    _cleanup_free_ char *stamp_path = xasprintf("%s.stamp", layer_dir);
    if (is_current(layer_dir, stamp_path, stamp))
        return 0;
    _cleanup_free_ char *fresh = xasprintf("%s.new", layer_dir);
    r = write_layer(layer, fresh, err);
    if (r == 0)
        r = put_in_place(fresh, layer_dir, stamp_path, stamp, err);
    if (r < 0)
        (void)remove_tree(AT_FDCWD, fresh, 0);
    return r;
}

int hostlayer_prune(const char *layer_dir, struct err *err)
{
    int count = 0;
    for (; count < LAYER_KEPT_MAX; count++) {
        _cleanup_free_ char *kept = xasprintf("%s.old-%d", layer_dir, count + 1);
        if (access(kept, F_OK) < 0)
            break;
    }
    /* From the last one, so that an interruption leaves no gap in the numbers. */
    for (; count > 0; count--) {
        _cleanup_free_ char *kept = xasprintf("%s.old-%d", layer_dir, count);
        int r = remove_tree(AT_FDCWD, kept, 0);
        if (r < 0)
            return err_os(err, -r, "remove %s", kept);
    }
    return 0;
}
