/* SPDX-License-Identifier: Apache-2.0 */
/* `carrel cert`: a private certificate authority, and a certificate by it for a domain and all names
 * below it. For one's own machines; public names get theirs from a public authority. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/str.h"
#include "cli/command.h"
#include "server/identity.h"

enum {
    CA_DAYS = 3650,
    DAYS = 365,
    DAYS_MAX = 825, /* what Apple's systems accept of private authorities */
    BACKDATE = 60,  /* seconds, for clocks that are behind */
    PEM_MAX = 65536,
    DOMAIN_MAX_BYTES = 200,
};

struct order {
    const char *domain;
    const char *directory;
    const char *user;
    uint64_t days;
};

struct pair {
    EVP_PKEY *key;
    X509 *certificate;
};

static void pair_done(struct pair *pair)
{
    EVP_PKEY_free(pair->key);
    X509_free(pair->certificate);
}

static int failed(struct err *err, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_get_error());
    return err_set(err, ERR_INTERNAL, 0, "%s: %s", what, reason ? reason : "failed");
}

/* ---- files ---- */

static int write_pem(const char *path, unsigned mode, gid_t group, BIO *pem, struct err *err)
{
    char *text;
    long n = BIO_get_mem_data(pem, &text);
    int r = fd_replace_file(AT_FDCWD, path, text, (size_t)n, mode);
    if (r < 0)
        return err_os(err, -r, "write %s", path);
    if (group != getegid() && chown(path, (uid_t)-1, group) < 0)
        return err_os(err, errno, "give %s to group %u", path, group);
    return 0;
}

static int write_pair(const struct order *order, const char *certificate_name, const char *key_name,
                      gid_t key_group, const struct pair *pair, X509 *issuer, struct err *err)
{
    _cleanup_free_ char *certificate = path_join(order->directory, certificate_name);
    _cleanup_free_ char *key = path_join(order->directory, key_name);
    BIO *text = BIO_new(BIO_s_mem()), *secret = BIO_new(BIO_s_mem());
    int r = 0;
    PEM_write_bio_X509(text, pair->certificate);
    if (issuer)
        PEM_write_bio_X509(text, issuer);
    PEM_write_bio_PrivateKey(secret, pair->key, NULL, NULL, 0, NULL, NULL);
    r = write_pem(key, issuer ? 0640 : 0600, key_group, secret, err);
    if (r == 0)
        r = write_pem(certificate, 0644, getegid(), text, err);
    BIO_free(text);
    BIO_free(secret);
    return r;
}

/* The authority that is there already, so that clients that trust it go on doing so. 1: read, 0: there
 * is none. */
static int read_authority(const struct order *order, struct pair *ret, struct err *err)
{
    _cleanup_free_ char *certificate = path_join(order->directory, "ca.pem");
    _cleanup_free_ char *key = path_join(order->directory, "ca-key.pem");
    _cleanup_free_ char *text = NULL, *secret = NULL;
    size_t n, m;
    int r = fd_read_file(AT_FDCWD, certificate, PEM_MAX, &text, &n);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return err_os(err, -r, "read %s", certificate);
    if ((r = fd_read_file(AT_FDCWD, key, PEM_MAX, &secret, &m)) < 0)
        return err_os(err, -r, "read %s", key);
    BIO *a = BIO_new_mem_buf(text, (int)n), *b = BIO_new_mem_buf(secret, (int)m);
    ret->certificate = PEM_read_bio_X509(a, NULL, NULL, NULL);
    ret->key = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
    BIO_free(a);
    BIO_free(b);
    explicit_bzero(secret, m);
    if (!ret->certificate || !ret->key || X509_check_private_key(ret->certificate, ret->key) != 1)
        return err_set(err, ERR_INVALID, 0, "%s and %s are no certificate and its key", certificate,
                       key);
    return 1;
}

/* ---- certificates ---- */

static int extend(X509 *certificate, X509 *issuer, int which, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, which, value);
    int ok = extension && X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return ok ? 0 : -EIO;
}

static void name(X509_NAME *out, const char *common)
{
    X509_NAME_add_entry_by_txt(out, "CN", MBSTRING_UTF8, (const unsigned char *)common, -1, -1, 0);
}

/* Key, serial, times and names; not yet signed. */
static int blank(struct pair *ret, const char *common, const X509 *issuer, uint64_t days,
                 struct err *err)
{
    unsigned char serial[16];
    ret->key = EVP_EC_gen("P-256");
    ret->certificate = X509_new();
    if (!ret->key || !ret->certificate || RAND_bytes(serial, sizeof serial) != 1)
        return failed(err, "make a key");
    serial[0] &= 0x7f;
    BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
    BN_to_ASN1_INTEGER(number, X509_get_serialNumber(ret->certificate));
    BN_free(number);
    X509_set_version(ret->certificate, X509_VERSION_3);
    X509_gmtime_adj(X509_getm_notBefore(ret->certificate), -BACKDATE);
    X509_gmtime_adj(X509_getm_notAfter(ret->certificate), (long)days * 86400);
    X509_set_pubkey(ret->certificate, ret->key);
    name(X509_get_subject_name(ret->certificate), common);
    X509_set_issuer_name(ret->certificate,
                         X509_get_subject_name(issuer ? issuer : ret->certificate));
    return 0;
}

static int make_authority(struct pair *ret, struct err *err)
{
    int r = blank(ret, "carrel private CA", NULL, CA_DAYS, err);
    if (r < 0)
        return r;
    X509 *c = ret->certificate;
    if (extend(c, c, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") < 0 ||
        extend(c, c, NID_key_usage, "critical,keyCertSign,cRLSign") < 0 ||
        extend(c, c, NID_subject_key_identifier, "hash") < 0 ||
        !X509_sign(c, ret->key, EVP_sha256()))
        return failed(err, "make the authority");
    return 0;
}

static int make_certificate(const struct order *order, const struct pair *authority,
                            struct pair *ret, struct err *err)
{
    char names[3 * DOMAIN_MAX_BYTES];
    int r = blank(ret, order->domain, authority->certificate, order->days, err);
    if (r < 0)
        return r;
    (void)snprintf(names, sizeof names, "DNS:%s,DNS:*.%s,DNS:localhost,IP:127.0.0.1,IP:::1",
                   order->domain, order->domain);
    X509 *c = ret->certificate, *issuer = authority->certificate;
    if (extend(c, issuer, NID_basic_constraints, "critical,CA:FALSE") < 0 ||
        extend(c, issuer, NID_key_usage, "critical,digitalSignature") < 0 ||
        extend(c, issuer, NID_ext_key_usage, "serverAuth") < 0 ||
        extend(c, issuer, NID_subject_alt_name, names) < 0 ||
        extend(c, issuer, NID_subject_key_identifier, "hash") < 0 ||
        extend(c, issuer, NID_authority_key_identifier, "keyid:always") < 0 ||
        !X509_sign(c, authority->key, EVP_sha256()))
        return failed(err, "make the certificate");
    return 0;
}

/* ---- command ---- */

static int make_all(const struct order *order, struct err *err)
{
    struct pair authority = {0}, certificate = {0};
    uid_t uid;
    gid_t gid = getegid();
    int r = 0;
    if (geteuid() == 0)
        r = identity_find(order->user, &uid, &gid, err);
    if (r == 0 && mkdir(order->directory, 0755) < 0 && errno != EEXIST)
        r = err_os(err, errno, "make %s", order->directory);
    if (r == 0)
        r = read_authority(order, &authority, err);
    if (r == 0) {
        r = make_authority(&authority, err);
        if (r == 0)
            r = write_pair(order, "ca.pem", "ca-key.pem", getegid(), &authority, NULL, err);
    }
    if (r >= 0)
        r = make_certificate(order, &authority, &certificate, err);
    if (r == 0)
        r = write_pair(order, "cert.pem", "key.pem", gid, &certificate, authority.certificate, err);
    pair_done(&authority);
    pair_done(&certificate);
    return r;
}

static void usage(FILE *out)
{
    fprintf(out,
            "usage: carrel cert DOMAIN [--out DIR] [--days N] [--user NAME|UID]\n\n"
            "Makes in DIR (default: .) a private authority, ca.pem and ca-key.pem, unless it is "
            "there,\nand a certificate by it for DOMAIN and *.DOMAIN, cert.pem and key.pem (%d "
            "days, at most %d).\nkey.pem is readable for the group of the server's user. Again "
            "before it expires; a running\nserver reads it by itself.\n",
            DAYS, DAYS_MAX);
}

static bool domain_valid(const char *domain)
{
    size_t n = strlen(domain);
    return n > 0 && n < DOMAIN_MAX_BYTES && domain[0] != '.' && domain[0] != '-' &&
           domain[n - 1] != '.' && !strstr(domain, "..") &&
           domain[strspn(domain, "abcdefghijklmnopqrstuvwxyz0123456789.-")] == '\0';
}

static int parse(int argc, char **argv, struct order *ret, struct err *err)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (argv[i][0] != '-' && !ret->domain) {
            ret->domain = argv[i];
            continue;
        }
        if (argv[i][0] != '-' || !value)
            return err_set(err, ERR_INVALID, 0, "\"%s\" is not understood", argv[i]);
        if (strcmp(argv[i], "--out") == 0)
            ret->directory = value;
        else if (strcmp(argv[i], "--user") == 0)
            ret->user = value;
        else if (strcmp(argv[i], "--days") != 0)
            return err_set(err, ERR_INVALID, 0, "there is no option %s", argv[i]);
        else if (str_to_u64(str_from(value), DAYS_MAX, &ret->days) < 0 || ret->days == 0)
            return err_set(err, ERR_INVALID, 0, "--days: a whole number from 1 to %d", DAYS_MAX);
        i++;
    }
    if (!ret->domain || !domain_valid(ret->domain))
        return err_set(err, ERR_INVALID, 0, "a domain in small letters is needed: carrel.internal");
    return 0;
}

static void say_what_next(const struct order *order)
{
    const char *d = order->directory;
    printf("serve:   carrel serve --domain %s --tls-cert %s/cert.pem --tls-key %s/key.pem\n"
           "clients: export E2B_DOMAIN=%s SSL_CERT_FILE=%s/ca.pem NODE_EXTRA_CA_CERTS=%s/ca.pem\n"
           "DNS:     %s and *.%s must lead to this host; a port other than 443 is part of "
           "--domain and E2B_DOMAIN\n",
           order->domain, d, d, order->domain, d, d, order->domain, order->domain);
}

int command_cert(int argc, char **argv)
{
    struct order order = {.directory = ".", .days = DAYS};
    struct err err;
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        usage(stdout);
        return 0;
    }
    int r = parse(argc, argv, &order, &err);
    if (r == 0)
        r = make_all(&order, &err);
    if (r == 0) {
        say_what_next(&order);
        return 0;
    }
    fprintf(stderr, "carrel cert: %s\n", err.message);
    return err_exit_status(err.code);
}
