/* SPDX-License-Identifier: Apache-2.0 */
/* What is written down of a process. */
#include "agent/process_record.h"

#include <errno.h>

#include "base/buf.h"
#include "base/mem.h"

enum { TEXT_MAX = (PROCESS_RECORD_SEGMENTS - 1) * (int)ARENA_SEGMENT };

static void append(struct buf *text, const char *s)
{
    buf_append(text, s, strlen(s) + 1);
}

static void put_text(struct buf *text, const struct process_config *config)
{
    buf_init(text, TEXT_MAX + 1);
    for (size_t i = 0; i < config->argc; i++)
        append(text, config->argv[i]);
    for (size_t i = 0; i < config->env_count; i++) {
        append(text, config->envs[i].name);
        append(text, config->envs[i].value);
    }
    if (config->cwd)
        append(text, config->cwd);
    if (config->tag)
        append(text, config->tag);
}

static int save_in_segments(struct arena *a, uint32_t slot, struct process_record *r,
                            struct str text)
{
    for (size_t i = 0; i * ARENA_SEGMENT < text.len; i++) {
        uint32_t id = arena_segment_take(a, false);
        if (id == ARENA_NONE)
            return -ENOMEM;
        struct arena_segment *segment = arena_segment(a, id);
        size_t left = text.len - i * ARENA_SEGMENT;
        size_t part = left < ARENA_SEGMENT ? left : ARENA_SEGMENT;
        *segment = (struct arena_segment){.owner = slot + 1, .used = (uint32_t)part};
        memcpy(arena_segment_bytes(a, id), text.p + i * ARENA_SEGMENT, part);
        r->segments[i] = id;
    }
    return 0;
}

int process_record_save(struct arena *a, uint32_t slot, const struct process_config *config)
{
    struct process_record *r = arena_record(a, slot);
    _cleanup_(buf_done) struct buf text;
    put_text(&text, config);
    r->argc = (uint32_t)config->argc;
    r->env_count = (uint32_t)config->env_count;
    r->has_cwd = config->cwd;
    r->has_tag = config->tag;
    r->text_len = (uint32_t)buf_len(&text);
    for (size_t i = 0; i < PROCESS_RECORD_SEGMENTS; i++)
        r->segments[i] = ARENA_NONE;
    if (buf_len(&text) >= TEXT_MAX)
        return -E2BIG;
    if (buf_len(&text) > sizeof r->text)
        return save_in_segments(a, slot, r, buf_str(&text));
    memcpy(r->text, buf_ptr(&text), buf_len(&text));
    return 0;
}

/* Takes the next NUL-terminated text off the front; NULL when there is none. */
static char *take(struct str *text)
{
    size_t len = strnlen(text->p, text->len);
    if (len == text->len)
        return NULL;
    char *copy = xstrndup(text->p, len);
    *text = (struct str){text->p + len + 1, text->len - len - 1};
    return copy;
}

static bool load_text(struct str text, const struct process_record *r, struct process_config *ret)
{
    /* Every text has at least its NUL. */
    if (r->argc == 0 || (uint64_t)r->argc + 2 * (uint64_t)r->env_count > text.len)
        return false;
    ret->argv = xcalloc((size_t)r->argc + 1, sizeof *ret->argv);
    for (; ret->argc < r->argc; ret->argc++)
        if (!(ret->argv[ret->argc] = take(&text)))
            return false;
    ret->envs = xcalloc((size_t)r->env_count + 1, sizeof *ret->envs);
    while (ret->env_count < r->env_count) {
        struct agent_env *env = &ret->envs[ret->env_count++];
        env->name = take(&text);
        env->value = env->name ? take(&text) : NULL;
        if (!env->value)
            return false;
    }
    if ((r->has_cwd && !(ret->cwd = take(&text))) || (r->has_tag && !(ret->tag = take(&text))))
        return false;
    return true;
}

static bool collect(const struct arena *a, uint32_t slot, const struct process_record *r,
                    struct buf *text)
{
    buf_init(text, TEXT_MAX);
    for (size_t i = 0; i < PROCESS_RECORD_SEGMENTS && buf_len(text) < r->text_len; i++) {
        uint32_t id = r->segments[i];
        if (id >= ARENA_MEMORY || arena_segment(a, id)->owner != slot + 1 ||
            arena_segment(a, id)->used > ARENA_SEGMENT)
            return false;
        buf_append(text, arena_segment_bytes(a, id), arena_segment(a, id)->used);
    }
    return buf_len(text) == r->text_len;
}

int process_record_load(const struct arena *a, uint32_t slot, struct process_config *ret)
{
    const struct process_record *r = arena_record(a, slot);
    struct process_config config = {0};
    _cleanup_(buf_done) struct buf text = {0};
    bool good;
    if (r->text_len <= sizeof r->text)
        good = load_text((struct str){r->text, r->text_len}, r, &config);
    else
        good = r->text_len <= TEXT_MAX && collect(a, slot, r, &text) &&
               load_text(buf_str(&text), r, &config);
    if (!good) {
        process_config_done(&config);
        return -EINVAL;
    }
    *ret = config;
    return 0;
}

void process_record_free(struct arena *a, uint32_t slot)
{
    const struct process_record *r = arena_record(a, slot);
    for (size_t i = 0; i < PROCESS_RECORD_SEGMENTS && r->text_len > sizeof r->text; i++) {
        uint32_t id = r->segments[i];
        if (id < ARENA_MEMORY && arena_segment(a, id)->owner == slot + 1)
            arena_segment_give(a, id);
    }
    arena_slot_give(a, slot);
}
