/* SPDX-License-Identifier: Apache-2.0 */
/* Writing and reading the record of a running sandbox. */
#include "box/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/fd.h"
#include "base/mem.h"

enum { RECORD_VERSION = 2 };

enum field {
    FIELD_VERSION,
    FIELD_BOOT,
    FIELD_PID,
    FIELD_START,
    FIELD_SLOT,
    FIELD_TEMPLATE,
    FIELD_MEMORY,
    FIELD_CPU,
    FIELD_PIDS,
    FIELD_DISK,
    FIELD_INTERNET,
    FIELD_MARK,
    FIELD_BASE,
    FIELD_ROOTFS,
    FIELDS
};

static const char *const names[FIELDS] = {
    [FIELD_VERSION] = "version", [FIELD_BOOT] = "boot",         [FIELD_PID] = "pid",
    [FIELD_START] = "start",     [FIELD_SLOT] = "slot",         [FIELD_TEMPLATE] = "template",
    [FIELD_MEMORY] = "memory",   [FIELD_CPU] = "cpu-millis",    [FIELD_PIDS] = "pids",
    [FIELD_DISK] = "disk",       [FIELD_INTERNET] = "internet",
    [FIELD_MARK] = "mark",       [FIELD_BASE] = "base",         [FIELD_ROOTFS] = "rootfs",
};
/* Version 1, as a launcher wrote it that was replaced by this one, has not these. */
enum { SINCE_2 = 1U << FIELD_BASE | 1U << FIELD_ROOTFS };

int box_record_print(const struct box_record *r, struct buf *out)
{
    return buf_printf(out,
                      "version=%d\nboot=%s\npid=%" PRIu32 "\nstart=%" PRIu64 "\nslot=%" PRIu32
                      "\ntemplate=%s\nmemory=%" PRIu64 "\ncpu-millis=%" PRIu32 "\npids=%" PRIu32
                      "\ndisk=%" PRIu64 "\ninternet=%d\nmark=%" PRIu32 "\nbase=%s\nrootfs=%s\n",
                      RECORD_VERSION, r->boot, r->pid, r->start, r->slot, r->template_name,
                      r->limits.memory_bytes, r->limits.cpu_millis, r->limits.pids,
                      r->limits.disk_bytes, r->allow_internet, r->mark, r->base, r->rootfs);
}

static int take_text(struct str value, char *out, size_t size)
{
    if (value.len >= size || memchr(value.p, 0, value.len))
        return -EINVAL;
    memcpy(out, value.p, value.len);
    out[value.len] = '\0';
    return 0;
}

static int take_u32(struct str value, uint64_t max, uint32_t *ret)
{
    uint64_t number;
    if (str_to_u64(value, max, &number) < 0)
        return -EINVAL;
    *ret = (uint32_t)number;
    return 0;
}

static int take_field(struct box_record *r, enum field field, struct str value, uint32_t *version)
{
    uint32_t number;
    switch (field) {
    case FIELD_VERSION:
        return take_u32(value, RECORD_VERSION, version) == 0 && *version > 0 ? 0 : -EINVAL;
    case FIELD_BOOT:
        return take_text(value, r->boot, sizeof r->boot);
    case FIELD_PID:
        return take_u32(value, INT32_MAX, &r->pid) == 0 && r->pid > 1 ? 0 : -EINVAL;
    case FIELD_START:
        return str_to_u64(value, UINT64_MAX, &r->start);
    case FIELD_SLOT:
        return take_u32(value, BOX_SLOTS - 1, &r->slot);
    case FIELD_TEMPLATE:
        return take_text(value, r->template_name, sizeof r->template_name) == 0 &&
                       box_template_valid(r->template_name)
                   ? 0
                   : -EINVAL;
    case FIELD_MEMORY:
        return str_to_u64(value, UINT64_MAX, &r->limits.memory_bytes);
    case FIELD_CPU:
        return take_u32(value, UINT32_MAX, &r->limits.cpu_millis);
    case FIELD_PIDS:
        return take_u32(value, UINT32_MAX, &r->limits.pids);
    case FIELD_DISK:
        return str_to_u64(value, UINT64_MAX, &r->limits.disk_bytes);
    case FIELD_INTERNET:
        if (take_u32(value, 1, &number) < 0)
            return -EINVAL;
        r->allow_internet = number;
        return 0;
    case FIELD_MARK:
        return take_u32(value, UINT32_MAX, &r->mark);
    case FIELD_BASE:
        return take_text(value, r->base, sizeof r->base) == 0 &&
                       (*r->base == '\0' || box_id_valid(r->base))
                   ? 0
                   : -EINVAL;
    case FIELD_ROOTFS:
        return take_text(value, r->rootfs, sizeof r->rootfs);
    case FIELDS:
        break;
    }
    return -EINVAL;
}

int box_record_parse(struct str text, struct box_record *ret)
{
    struct box_record record = {0};
    unsigned seen = 0, all = (1U << FIELDS) - 1;
    uint32_t version = 0;
    /* Every line ends with a newline: a last one that does not was cut. */
    if (text.len == 0 || text.len > BOX_RECORD_MAX || text.p[text.len - 1] != '\n')
        return -EINVAL;
    text.len--;
    struct str line;
    while (str_split(&text, '\n', &line)) {
        size_t equals = str_find(line, '=');
        if (equals == line.len)
            return -EINVAL;
        const struct str name = {line.p, equals};
        const struct str value = {line.p + equals + 1, line.len - equals - 1};
        int field = 0;
        while (field < FIELDS && !str_eqz(name, names[field]))
            field++;
        if (field == FIELDS || (seen & (1U << field)) ||
            take_field(&record, (enum field)field, value, &version) < 0)
            return -EINVAL;
        seen |= 1U << field;
    }
    if (seen != (version == 1 ? all & ~SINCE_2 : all))
        return -EINVAL;
    *ret = record;
    return 0;
}

int box_record_boot_id(char out[BOX_BOOT_ID_SIZE])
{
    _cleanup_free_ char *text = NULL;
    size_t len;
    int rc = fd_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &text, &len);
    if (rc < 0)
        return rc;
    struct str s = {text, len};
    if (len && text[len - 1] == '\n')
        s.len--;
    return take_text(s, out, BOX_BOOT_ID_SIZE);
}

int box_record_parse_stat(struct str stat, uint64_t *ret_start)
{
    /* The second field is a name in parentheses that may itself hold anything, ')' included. */
    const char *end = memrchr(stat.p, ')', stat.len);
    if (!end)
        return -EINVAL;
    struct str rest = {end + 1, stat.len - (size_t)(end + 1 - stat.p)};
    struct str field;
    for (int i = 2; i <= 22; i++)
        if (!str_split(&rest, ' ', &field))
            return -EINVAL;
    return str_to_u64(field, UINT64_MAX, ret_start) < 0 ? -EINVAL : 0;
}

int box_record_start_time(pid_t pid, uint64_t *ret_start)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    _cleanup_free_ char *text = NULL;
    size_t len;
    int rc = fd_read_file(AT_FDCWD, path, 4096, &text, &len);
    return rc < 0 ? rc : box_record_parse_stat((struct str){text, len}, ret_start);
}
