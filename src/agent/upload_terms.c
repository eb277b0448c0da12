/* SPDX-License-Identifier: Apache-2.0 */
/* The query and fields of an upload. */
#include "agent/upload_terms.h"

#include "base/mem.h"

enum { VALUE_MAX = 256 };

static int bad(struct err *err, const char *what, struct str value)
{
    err_set(err, ERR_INVALID, 0, "malformed %s '%.*s'", what, value.len > 60 ? 60 : (int)value.len,
            value.p);
    return 400;
}

static int read_mode(struct str text, int *ret)
{
    int mode = 0;
    if (text.len == 0 || text.len > 5)
        return -1;
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] < '0' || text.p[i] > '7')
            return -1;
        mode = mode * 8 + (text.p[i] - '0');
    }
    *ret = mode;
    return mode <= 07777 ? 0 : -1;
}

static int read_owner(struct str text, const struct passwd_user *user, struct upload_terms *t,
                      struct err *err)
{
    struct str rest = text, head;
    struct passwd_user owner;
    uint64_t uid, gid;
    if (str_split(&rest, ':', &head) && rest.p) {
        if (str_to_u64(head, UINT32_MAX - 1, &uid) < 0 ||
            str_to_u64(rest, UINT32_MAX - 1, &gid) < 0)
            return bad(err, "owner", text);
        t->uid = (uid_t)uid;
        t->gid = (gid_t)gid;
    } else if (passwd_lookup("", text, &owner) == 0) {
        t->uid = owner.uid;
        t->gid = owner.gid;
        passwd_user_done(&owner);
    } else {
        err_set(err, ERR_INVALID, 0, "owner: no such user '%.*s'",
                text.len > 60 ? 60 : (int)text.len, text.p);
        return 400;
    }
    if (user->uid == 0 || (t->uid == user->uid && t->gid == user->gid))
        return 0;
    err_set(err, ERR_DENIED, 0, "only root gives files away: ask with username=root");
    return 403;
}

/* One parameter, decoded. 0: it is there. */
static int get(const struct http_request *request, const char *name, struct buf *out, int *status,
               struct err *err)
{
    bool is_bad = false;
    if (*status || (!http_query_get(request->query, name, out, &is_bad) && !is_bad))
        return -1;
    if (is_bad)
        *status = bad(err, "query parameter", str_from(name));
    return *status ? -1 : 0;
}

static int read_query(const struct http_request *request, const struct passwd_user *user,
                      struct upload_terms *t, struct err *err)
{
    int status = 0;
    struct buf value;
    buf_init(&value, VALUE_MAX);
    if (get(request, "mode", &value, &status, err) == 0 && read_mode(buf_str(&value), &t->mode) < 0)
        status = bad(err, "mode", buf_str(&value));
    if (get(request, "fsync", &value, &status, err) == 0) {
        t->sync = str_eqz(buf_str(&value), "true");
        if (!t->sync && !str_eqz(buf_str(&value), "false"))
            status = bad(err, "fsync", buf_str(&value));
    }
    if (get(request, "owner", &value, &status, err) == 0)
        status = read_owner(buf_str(&value), user, t, err);
    buf_done(&value);
    return status;
}

static char *copy_field(const struct http_request *request, const char *name)
{
    struct str value = http_header_get(&request->headers, name);
    return value.p ? xstrndup(value.p, value.len) : NULL;
}

static int read_fields(const struct http_request *request, struct upload_terms *t, struct err *err)
{
    struct str digest = http_header_get(&request->headers, "repr-digest");
    struct str want = http_header_get(&request->headers, "want-repr-digest");
    t->if_match = copy_field(request, "if-match");
    t->if_none_match = copy_field(request, "if-none-match");
    t->digest_wanted = want.p && sha256_wanted(want);
    if (digest.p) {
        int r = sha256_field_parse(digest, t->digest);
        if (r < 0)
            return bad(err, "Repr-Digest", digest);
        t->digest_given = r > 0;
    }
    return metadata_parse(&request->headers, &t->metadata, err) < 0 ? 400 : 0;
}

int upload_terms_read(const struct http_request *request, const struct file_query *query,
                      struct upload_terms *ret, struct err *err)
{
    struct upload_terms t = {.uid = query->user.uid, .gid = query->user.gid, .mode = -1};
    int status = read_query(request, &query->user, &t, err);
    if (status == 0)
        status = read_fields(request, &t, err);
    if (status)
        upload_terms_done(&t);
    else
        *ret = t;
    return status;
}

void upload_terms_done(struct upload_terms *t)
{
    metadata_done(&t->metadata);
    free(t->if_match);
    free(t->if_none_match);
    *t = (struct upload_terms){.mode = -1};
}
