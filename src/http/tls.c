/* SPDX-License-Identifier: Apache-2.0 */
/* TLS streams. OpenSSL reads and writes the socket of the stream below, which only says when.
 *
 * OpenSSL wants a write that it could not finish to be repeated with the same bytes. Our callers may
 * come back with others, so at most one record is kept here and counts as taken. */
#include "http/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/loop.h"
#include "http/stream-internal.h"

enum { RECORD_MAX = 16384 };

struct file_stamp {
    struct timespec changed;
    ino_t inode;
    off_t size;
};

struct tls_context {
    SSL_CTX *ssl;
    char *certificate, *key;
    struct file_stamp stamps[2];
    int64_t looked; /* monotonic, at the files */
};

struct tls {
    struct stream base;
    struct stream *below;
    SSL *ssl;
    bool want_read, want_write; /* what the owner asked for */
    bool reading_writes;        /* OpenSSL must write before it can read */
    bool handshaking;
    bool broken;
    char *kept; /* the bytes of an unfinished write, or NULL */
    size_t kept_len;
    struct http_task task; /* what is decrypted already makes no socket readable */
};

/* ---- context ---- */

static struct file_stamp stamp_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return (struct file_stamp){0};
    return (struct file_stamp){st.st_mtim, st.st_ino, st.st_size};
}

static bool same_stamp(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec &&
           a->inode == b->inode && a->size == b->size;
}

static int ssl_error(struct err *err, const char *what, const char *path)
{
    unsigned long code = ERR_get_error();
    const char *reason = ERR_reason_error_string(code);
    ERR_clear_error();
    return err_set(err, ERR_INVALID, 0, "%s %s: %s", what, path, reason ? reason : "unusable");
}

static int select_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* Without a passphrase: nobody is there to be asked. */
static int no_passphrase(char *buffer, int size, int writing, void *arg)
{
    return -1;
}

static void set_up(SSL_CTX *ssl)
{
    SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* HTTP/2 forbids the others of TLS 1.2 (RFC 9113, appendix A). */
    SSL_CTX_set_cipher_list(ssl, "ECDHE+AESGCM:ECDHE+CHACHA20");
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(ssl, select_protocol, NULL);
    SSL_CTX_set_default_passwd_cb(ssl, no_passphrase);
}

static int load(const char *certificate, const char *key, SSL_CTX **ret, struct err *err)
{
    const char *const paths[] = {certificate, key};
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
        if (access(paths[i], R_OK) < 0)
            return err_os(err, errno, "%s (read as user %u)", paths[i], geteuid());
    SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());
    if (!ssl)
        return err_set(err, ERR_INTERNAL, ENOMEM, "TLS");
    set_up(ssl);
    int r = 0;
    if (SSL_CTX_use_certificate_chain_file(ssl, certificate) != 1)
        r = ssl_error(err, "certificate", certificate);
    else if (SSL_CTX_use_PrivateKey_file(ssl, key, SSL_FILETYPE_PEM) != 1)
        r = ssl_error(err, "key", key);
    else if (SSL_CTX_check_private_key(ssl) != 1)
        r = ssl_error(err, "the certificate does not belong to key", key);
    if (r < 0)
        SSL_CTX_free(ssl);
    else
        *ret = ssl;
    return r;
}

int tls_context_open(const char *certificate, const char *key, struct tls_context **ret,
                     struct err *err)
{
    SSL_CTX *ssl;
    const struct file_stamp stamps[2] = {stamp_of(certificate), stamp_of(key)};
    int r = load(certificate, key, &ssl, err);
    if (r < 0)
        return r;
    struct tls_context *context = xcalloc(1, sizeof *context);
    context->ssl = ssl;
    context->certificate = xstrdup(certificate);
    context->key = xstrdup(key);
    memcpy(context->stamps, stamps, sizeof stamps);
    *ret = context;
    return 0;
}

void tls_context_close(struct tls_context *context)
{
    if (!context)
        return;
    SSL_CTX_free(context->ssl);
    free(context->certificate);
    free(context->key);
    free(context);
}

void tls_context_refresh(struct tls_context *context)
{
    int64_t now = clock_mono_ns();
    if (now - context->looked < CLOCK_S)
        return;
    context->looked = now;
    const struct file_stamp stamps[2] = {stamp_of(context->certificate), stamp_of(context->key)};
    if (same_stamp(&stamps[0], &context->stamps[0]) && same_stamp(&stamps[1], &context->stamps[1]))
        return;
    struct err err;
    SSL_CTX *ssl;
    memcpy(context->stamps, stamps, sizeof stamps);
    if (load(context->certificate, context->key, &ssl, &err) < 0) {
        log_error("the certificate has changed and cannot be used: the one before stays",
                  "error=\"%s\"", err.message);
        return;
    }
    SSL_CTX_free(context->ssl); /* connections hold it as long as they need it */
    context->ssl = ssl;
    log_info("certificate read again", "file=%s", context->certificate);
}

/* ---- streams ---- */

static struct tls *of(struct stream *s)
{
    return (struct tls *)s;
}

static void update_watch(struct tls *t)
{
    if (t->handshaking) {
        bool writes = SSL_want_write(t->ssl);
        stream_watch(t->below, !writes, writes);
        return;
    }
    stream_watch(t->below, t->want_read && !t->reading_writes,
                 t->want_write || t->kept || t->reading_writes);
    if (t->want_read && SSL_has_pending(t->ssl))
        http_loop_defer(t->base.loop, &t->task);
}

/* A failed call's meaning: -EAGAIN, 0 for an orderly end, or -ECONNRESET. */
static int outcome(struct tls *t, int result)
{
    int why = SSL_get_error(t->ssl, result);
    ERR_clear_error();
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return -EAGAIN;
    if (why == SSL_ERROR_ZERO_RETURN)
        return 0;
    t->broken = true;
    return -ECONNRESET;
}

static ssize_t tls_read(struct stream *s, void *p, size_t n)
{
    struct tls *t = of(s);
    size_t total = 0;
    if (t->broken)
        return -ECONNRESET;
    t->reading_writes = false;
    while (total < n) { /* a record at a time; a large body comes as many */
        size_t got = 0;
        ERR_clear_error();
        int result = SSL_read_ex(t->ssl, (char *)p + total, n - total, &got);
        if (result != 1) {
            int r = outcome(t, result);
            if (r == -EAGAIN)
                t->reading_writes = SSL_want_write(t->ssl);
            if (total == 0)
                return r;
            break;
        }
        total += got;
    }
    return (ssize_t)total;
}

/* One record. Bytes taken or -errno. */
static ssize_t write_record(struct tls *t, const char *p, size_t n)
{
    size_t done = 0;
    ERR_clear_error();
    int result = SSL_write_ex(t->ssl, p, n, &done);
    if (result == 1)
        return (ssize_t)done;
    int r = outcome(t, result);
    return r == 0 ? -ECONNRESET : r;
}

/* Finishes what an earlier write began. 0, -EAGAIN or -errno. */
static int flush_kept(struct tls *t)
{
    if (!t->kept)
        return 0;
    ssize_t sent = write_record(t, t->kept, t->kept_len);
    if (sent < 0)
        return (int)sent;
    free(t->kept);
    t->kept = NULL;
    return 0;
}

static ssize_t put_record(struct tls *t, const char *p, size_t n)
{
    ssize_t sent = write_record(t, p, n);
    if (sent != -EAGAIN)
        return sent;
    t->kept = xmalloc(n);
    memcpy(t->kept, p, n);
    t->kept_len = n;
    update_watch(t);
    return (ssize_t)n;
}

/* Copies up to one record's bytes out of the parts, from `skip` on. */
static size_t gather(const struct iovec *parts, int count, size_t skip, char *out)
{
    size_t have = 0;
    for (int i = 0; i < count && have < RECORD_MAX; i++) {
        size_t drop = skip < parts[i].iov_len ? skip : parts[i].iov_len;
        size_t n = parts[i].iov_len - drop;
        skip -= drop;
        if (n > RECORD_MAX - have)
            n = RECORD_MAX - have;
        memcpy(out + have, (char *)parts[i].iov_base + drop, n);
        have += n;
    }
    return have;
}

static ssize_t tls_write(struct stream *s, const struct iovec *parts, int count)
{
    struct tls *t = of(s);
    char record[RECORD_MAX];
    size_t total = 0;
    int r = t->broken ? -EPIPE : flush_kept(t);
    if (r < 0)
        return r;
    while (!t->kept) {
        size_t n = gather(parts, count, total, record);
        if (n == 0)
            break;
        ssize_t sent = put_record(t, record, n);
        if (sent < 0)
            return total ? (ssize_t)total : sent;
        total += (size_t)sent;
    }
    return (ssize_t)total;
}

static ssize_t tls_sendfile(struct stream *s, int file, off_t *offset, size_t n)
{
    struct tls *t = of(s);
    char record[RECORD_MAX];
    size_t total = 0;
    int r = t->broken ? -EPIPE : flush_kept(t);
    if (r < 0)
        return r;
    while (!t->kept && total < n) {
        size_t want = n - total < RECORD_MAX ? n - total : RECORD_MAX;
        ssize_t got = pread(file, record, want, *offset);
        if (got <= 0)
            return total ? (ssize_t)total : got < 0 ? -errno : 0;
        ssize_t sent = put_record(t, record, (size_t)got);
        if (sent < 0)
            return total ? (ssize_t)total : sent;
        *offset += sent;
        total += (size_t)sent;
    }
    return (ssize_t)total;
}

static void tls_watch(struct stream *s, bool readable, bool writable)
{
    struct tls *t = of(s);
    t->want_read = readable;
    t->want_write = writable;
    update_watch(t);
}

static void say_goodbye(struct tls *t)
{
    if (t->broken || t->kept || t->handshaking)
        return;
    SSL_shutdown(t->ssl);
    ERR_clear_error();
}

static void tls_shutdown_write(struct stream *s)
{
    say_goodbye(of(s));
    stream_shutdown_write(of(s)->below);
}

static void tls_close(struct stream *s, bool reset)
{
    struct tls *t = of(s);
    http_loop_cancel(s->loop, &t->task);
    if (!reset)
        say_goodbye(t);
    SSL_free(t->ssl);
    if (reset)
        stream_reset(t->below);
    else
        stream_close(t->below);
    free(t->kept);
    free(t);
}

static const struct stream_ops tls_ops = {
    .watch = tls_watch,
    .read = tls_read,
    .write = tls_write,
    .sendfile = tls_sendfile,
    .shutdown_write = tls_shutdown_write,
    .close = tls_close,
};

/* The owner may close the stream in its callback: nothing is touched after it. */
static void on_below(struct stream *below, bool readable, bool writable, void *arg)
{
    struct tls *t = arg;
    if (t->handshaking) {
        t->base.ready(&t->base, true, true, t->base.arg);
        return;
    }
    if (writable && flush_kept(t) != -EAGAIN)
        update_watch(t);
    bool can_write = t->want_write && !t->kept;
    if (t->want_read || can_write)
        t->base.ready(&t->base, t->want_read, can_write, t->base.arg);
}

static void on_task(struct http_task *task)
{
    struct tls *t = CONTAINER_OF(task, struct tls, task);
    if (t->want_read)
        t->base.ready(&t->base, true, false, t->base.arg);
}

int tls_stream_open(struct tls_context *context, struct stream *below, struct stream **ret)
{
    struct tls *t = xcalloc(1, sizeof *t);
    t->ssl = SSL_new(context->ssl);
    if (!t->ssl || SSL_set_fd(t->ssl, stream_fd(below)) != 1) {
        ERR_clear_error();
        SSL_free(t->ssl);
        stream_close(below);
        free(t);
        return -ENOMEM;
    }
    SSL_set_accept_state(t->ssl);
    t->base = (struct stream){.ops = &tls_ops, .loop = stream_loop(below), .fd = stream_fd(below)};
    t->below = below;
    t->handshaking = true;
    t->task.run = on_task;
    stream_set_owner(below, on_below, t);
    *ret = &t->base;
    return 0;
}

int tls_handshake(struct stream *s)
{
    struct tls *t = of(s);
    ERR_clear_error();
    int result = SSL_do_handshake(t->ssl);
    if (result == 1) {
        t->handshaking = false;
        update_watch(t);
        return 0;
    }
    int r = outcome(t, result);
    if (r != -EAGAIN)
        return -EPROTO;
    update_watch(t);
    return -EAGAIN;
}

bool tls_is_http2(const struct stream *s)
{
    const unsigned char *name;
    unsigned len;
    SSL_get0_alpn_selected(((const struct tls *)s)->ssl, &name, &len);
    return len == 2 && memcmp(name, "h2", 2) == 0;
}
