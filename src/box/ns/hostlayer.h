/* SPDX-License-Identifier: Apache-2.0 */
/* The host layer: a small overlay layer above a template's root file system that holds the files
 * which depend on the host, so that templates stay portable.
 *
 *   etc/resolv.conf                          the resolvers given
 *   etc/hosts                                localhost and the host name given
 *   etc/ssl/certs/ca-certificates.crt        the template's own bundle and the host's certificates
 *   usr/local/share/ca-certificates/carrel-*.crt   the same additions one by one, so that
 *                                            update-ca-certificates inside keeps them
 *
 * Directories are put where the template's symbolic links lead (etc/ssl/certs may be one). All
 * files belong to 0:0 and are readable by everybody; directories that the template has keep its
 * mode and owner. The content of a template is hostile: its paths are resolved within it, only
 * regular files of bounded size are read, and nothing is written outside of the layer. */
#pragma once

#include <netinet/in.h>

struct err;

enum {
    HOSTLAYER_RESOLVERS = 3,
    HOSTLAYER_BUNDLE_MAX = 8 * 1024 * 1024, /* bytes read of each bundle; more is an error */
    HOSTLAYER_EXTRA_MAX = 512,              /* certificates added; more is an error */
};

struct hostlayer_options {
    struct in_addr dns[HOSTLAYER_RESOLVERS];
    unsigned dns_count;
    const char *hostname; /* resolved to 127.0.1.1, without which sudo complains; NULL: none */
    /* PEM file whose certificates are trusted inside. NULL is the host's own bundle,
     * /etc/ssl/certs/ca-certificates.crt, whose absence is no error; "none" adds none. */
    const char *ca_bundle;
};

/* Makes layer_dir from the template at template_rootfs: built beside it (layer_dir + ".new") and
 * renamed into place, so that layer_dir is never half made. Does nothing when it was made from the
 * same inputs before, as layer_dir + ".stamp" tells. An older layer is renamed to
 * layer_dir + ".old-N" and left there, since an overlay that is mounted must keep its lower
 * directories. Not for two builders of one layer_dir at a time. Needs root. */
int hostlayer_build(const char *template_rootfs, const char *layer_dir,
                    const struct hostlayer_options *options, struct err *err);

/* Removes older layers. For when no sandbox of the template lives. */
int hostlayer_prune(const char *layer_dir, struct err *err);
