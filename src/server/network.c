/* SPDX-License-Identifier: Apache-2.0 */
/* Network rules from JSON. */
#include "server/network.h"

#include <arpa/inet.h>
#include <errno.h>

#include "base/hostname.h"
#include "base/mem.h"
#include "base/str.h"
#include "server/field.h"

/* While reading. */
struct rules {
    const char *prefix;
    struct launcher_range allow[LAUNCHER_RANGES_MAX], deny[LAUNCHER_RANGES_MAX];
    uint32_t allow_count, deny_count;
    char names[LAUNCHER_NAMES_BYTES];
    uint32_t names_len;
    bool deny_all;
};

enum kind { KIND_NONE, KIND_IPV4, KIND_IPV6 };

/* An address, or one with "/" and a length. */
static enum kind parse_range(struct str text, struct launcher_range *ret)
{
    char copy[INET6_ADDRSTRLEN];
    struct in_addr v4;
    struct in6_addr v6;
    struct str address;
    uint64_t prefix = 0;
    bool has_prefix = str_find(text, '/') < text.len;
    if (!str_split(&text, '/', &address) || address.len >= sizeof copy ||
        memchr(address.p, 0, address.len))
        return KIND_NONE;
    memcpy(copy, address.p, address.len);
    copy[address.len] = '\0';
    bool is_v4 = inet_pton(AF_INET, copy, &v4) == 1;
    if (!is_v4 && inet_pton(AF_INET6, copy, &v6) != 1)
        return KIND_NONE;
    if (has_prefix && str_to_u64(text, is_v4 ? 32 : 128, &prefix) < 0)
        return KIND_NONE;
    if (!is_v4)
        return KIND_IPV6;
    if (!has_prefix)
        prefix = 32;
    uint32_t rest = prefix == 0 ? UINT32_MAX : (uint32_t)((UINT64_C(1) << (32 - prefix)) - 1);
    *ret = (struct launcher_range){ntohl(v4.s_addr) & ~rest, (uint32_t)prefix};
    return KIND_IPV4;
}

/* Returns the length of the pattern, 0 if it is none. */
static size_t parse_name(struct str text, char out[HOSTNAME_SIZE + 2])
{
    size_t star = str_starts(text, STR("*.")) ? 2 : 0;
    memcpy(out, "*.", star);
    size_t len = hostname_normalize((struct str){text.p + star, text.len - star}, out + star);
    return len ? star + len : 0;
}

static int wrong(struct err *err, const struct rules *r, const char *list, size_t i,
                 const char *entry, const char *what)
{
    return err_set(err, ERR_INVALID, 0, "\"%s%s\"[%zu]: \"%.64s\" %s", r->prefix, list, i, entry,
                   what);
}

static int add_name(struct rules *r, const char *entry, size_t i, struct err *err)
{
    char name[HOSTNAME_SIZE + 2];
    size_t len = parse_name(str_from(entry), name);
    if (len == 0)
        return wrong(err, r, "allowOut", i, entry,
                     "is neither an IPv4 address, a CIDR block nor a domain name such as "
                     "example.com or *.example.com");
    if (len + 1 > LAUNCHER_NAMES_BYTES - r->names_len)
        return err_set(err, ERR_INVALID, 0, "\"%sallowOut\": the names are longer than %d bytes",
                       r->prefix, LAUNCHER_NAMES_BYTES);
    memcpy(r->names + r->names_len, name, len);
    r->names_len += (uint32_t)len;
    r->names[r->names_len++] = '\0';
    return 0;
}

static int add_allowed(struct rules *r, const char *entry, size_t i, struct err *err)
{
    switch (parse_range(str_from(entry), &r->allow[r->allow_count])) {
    case KIND_IPV4:
        r->allow_count++;
        return 0;
    case KIND_IPV6:
        return wrong(err, r, "allowOut", i, entry,
                     "is IPv6, which the sandboxes of this server do not have");
    case KIND_NONE:
        break;
    }
    return add_name(r, entry, i, err);
}

static int add_denied(struct rules *r, const char *entry, size_t i, struct err *err)
{
    switch (parse_range(str_from(entry), &r->deny[r->deny_count])) {
    case KIND_IPV4:
        r->deny_all = r->deny_all || r->deny[r->deny_count].prefix == 0;
        r->deny_count++;
        return 0;
    case KIND_IPV6:
        return 0; /* there is none, so it is denied */
    case KIND_NONE:
        break;
    }
    return wrong(err, r, "denyOut", i, entry,
                 "is neither an IP address nor a CIDR block (names can only be allowed)");
}

typedef int add_fn(struct rules *r, const char *entry, size_t i, struct err *err);

static int read_list(struct rules *r, const json_t *object, const char *name, add_fn *add,
                     struct err *err)
{
    json_t *list = json_object_get(object, name);
    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list))
        return err_set(err, ERR_INVALID, 0, "\"%s%s\" must be an array", r->prefix, name);
    if (json_array_size(list) > LAUNCHER_RANGES_MAX)
        return err_set(err, ERR_INVALID, 0, "\"%s%s\" has %zu entries, more than %d", r->prefix,
                       name, json_array_size(list), LAUNCHER_RANGES_MAX);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
        const char *entry = json_string_value(json_array_get(list, i));
        if (!entry)
            return err_set(err, ERR_INVALID, 0, "\"%s%s\"[%zu] must be a string", r->prefix, name,
                           i);
        rc = add(r, entry, i, err);
    }
    return rc;
}

/* Whatever is asked for and cannot be had must not look as if it were there. */
static int refuse_unsupported(const struct rules *r, const json_t *object, struct err *err)
{
    static const char *const names[] = {"rules", "egressProxy", "httpsPorts", "dnsServers"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const json_t *value = json_object_get(object, names[i]);
        bool empty = !value || json_is_null(value) ||
                     (json_is_object(value) && json_object_size(value) == 0) ||
                     (json_is_array(value) && json_array_size(value) == 0);
        if (!empty)
            return err_set(err, ERR_INVALID, 0, "\"%s%s\" is not supported by this server",
                           r->prefix, names[i]);
    }
    return 0;
}

static void put(struct network *ret, const void *p, size_t n)
{
    memcpy(ret->bytes + ret->len, p, n);
    ret->len += n;
}

static void write_message(const struct rules *r, struct network *ret)
{
    const struct launcher_network head = {
        .allow_count = r->allow_count, .deny_count = r->deny_count, .names_len = r->names_len};
    put(ret, &head, sizeof head);
    put(ret, r->allow, r->allow_count * sizeof *r->allow);
    put(ret, r->deny, r->deny_count * sizeof *r->deny);
    put(ret, r->names, r->names_len);
}

int network_from_json(const json_t *object, const char *prefix, bool allow_internet,
                      struct network *ret, struct err *err)
{
    _cleanup_free_ struct rules *r = xcalloc(1, sizeof *r);
    r->prefix = prefix;
    int rc = refuse_unsupported(r, object, err);
    if (rc == 0)
        rc = read_list(r, object, "denyOut", add_denied, err);
    if (rc == 0)
        rc = read_list(r, object, "allowOut", add_allowed, err);
    if (rc < 0)
        return rc;
    if (!allow_internet) {
        /* In place of the list, which it includes. */
        r->deny[0] = (struct launcher_range){0, 0};
        r->deny_count = 1;
        r->deny_all = true;
    }
    if (r->names_len > 0 && !r->deny_all)
        return err_set(err, ERR_INVALID, 0,
                       "\"%sallowOut\" has domain names: then \"%sdenyOut\" must have 0.0.0.0/0",
                       prefix, prefix);
    ret->len = 0;
    ret->closed = r->deny_all && r->allow_count == 0 && r->names_len == 0;
    if (r->deny_count > 0)
        write_message(r, ret);
    return 0;
}
