/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of the sandbox's file system: looking, listing, making, moving, removing. */
#include <string.h>

#include "base/mem.h"
#include "client/call.h"
#include "client/fields.h"

struct memory {
    json_t *answer;
    struct carrel_entry items[];
};

static enum carrel_file_type take_type(const json_t *object)
{
    const char *type = fields_text(object, "type");
    return strcmp(type, "FILE_TYPE_FILE") == 0        ? CARREL_FILE_REGULAR
           : strcmp(type, "FILE_TYPE_DIRECTORY") == 0 ? CARREL_FILE_DIRECTORY
                                                      : CARREL_FILE_OTHER;
}

static void fill(struct carrel_entry *entry, const json_t *object)
{
    *entry = (struct carrel_entry){
        .name = fields_text(object, "name"),
        .path = fields_text(object, "path"),
        .link = fields_text_or_null(object, "symlinkTarget"),
        .type = take_type(object),
        .size = fields_integer(object, "size"),
        .mode = (unsigned)fields_integer(object, "mode"),
        .permissions = fields_text(object, "permissions"),
        .owner = fields_text(object, "owner"),
        .group = fields_text(object, "group"),
        .modified_ms = fields_time_ms(object, "modifiedTime"),
    };
}

/* Takes over the answer; entries: the array in it, or a single object. */
static void take(json_t *answer, const json_t *entries, struct carrel_entry_list *ret)
{
    size_t n = json_is_array(entries) ? json_array_size(entries) : json_is_object(entries);
    struct memory *memory = xmalloc(sizeof *memory + n * sizeof *memory->items);
    memory->answer = answer;
    for (size_t i = 0; i < n; i++)
        fill(&memory->items[i], json_is_array(entries) ? json_array_get(entries, i) : entries);
    *ret = (struct carrel_entry_list){memory->items, n, memory};
}

void carrel_entry_list_done(struct carrel_entry_list *list)
{
    struct memory *memory = list->memory;
    if (memory)
        json_decref(memory->answer);
    free(memory);
    *list = (struct carrel_entry_list){0};
}

int carrel_file_stat(struct carrel_sandbox *sandbox, const char *path,
                     const struct carrel_call *call, struct carrel_entry_list *ret,
                     struct carrel_error *err)
{
    json_t *answer = NULL;
    int rc = call_agent(sandbox, "filesystem.Filesystem/Stat", json_pack("{s:s}", "path", path),
                        call, &answer, err);
    if (rc < 0)
        return rc;
    const json_t *entry = json_object_get(answer, "entry");
    if (!json_is_object(entry)) {
        json_decref(answer);
        return error_set(err, CARREL_SERVER, "the answer has no entry");
    }
    take(answer, entry, ret);
    return 0;
}

int carrel_file_list(struct carrel_sandbox *sandbox, const char *path, unsigned depth,
                     const struct carrel_call *call, struct carrel_entry_list *ret,
                     struct carrel_error *err)
{
    json_t *answer = NULL;
    json_t *message =
        json_pack("{s:s, s:I}", "path", path, "depth", (json_int_t)(depth ? depth : 1));
    int rc = call_agent(sandbox, "filesystem.Filesystem/ListDir", message, call, &answer, err);
    if (rc == 0)
        take(answer, json_object_get(answer, "entries"), ret);
    return rc;
}

int carrel_file_exists(struct carrel_sandbox *sandbox, const char *path,
                       const struct carrel_call *call, struct carrel_error *err)
{
    int rc = call_agent(sandbox, "filesystem.Filesystem/Stat", json_pack("{s:s}", "path", path),
                        call, NULL, err);
    return rc == 0 ? 1 : rc == -CARREL_NOT_FOUND ? 0 : rc;
}

int carrel_file_make_dir(struct carrel_sandbox *sandbox, const char *path,
                         const struct carrel_call *call, struct carrel_error *err)
{
    return call_agent(sandbox, "filesystem.Filesystem/MakeDir", json_pack("{s:s}", "path", path),
                      call, NULL, err);
}

int carrel_file_move(struct carrel_sandbox *sandbox, const char *from, const char *to,
                     const struct carrel_call *call, struct carrel_error *err)
{
    json_t *message = json_pack("{s:s, s:s}", "source", from, "destination", to);
    return call_agent(sandbox, "filesystem.Filesystem/Move", message, call, NULL, err);
}

int carrel_file_remove(struct carrel_sandbox *sandbox, const char *path,
                       const struct carrel_call *call, struct carrel_error *err)
{
    return call_agent(sandbox, "filesystem.Filesystem/Remove", json_pack("{s:s}", "path", path),
                      call, NULL, err);
}
