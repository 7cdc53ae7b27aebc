/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: the digests of unfinished uploads, fed block by block as they arrive, so that committing
 *       hashes nothing on the broker's thread; after a restart they are caught up in slices.
 * Thread: the broker's.
 * Frees: ota_uploads_free.
 */
#ifndef OTA_UPLOADS_H
#define OTA_UPLOADS_H

#include "store/store.h"

struct ota_uploads;

struct ota_uploads *ota_uploads_new(struct ota_store *store);
void ota_uploads_free(struct ota_uploads *uploads);

/*
 * Makes sure that the digests of the upload cover row->received bytes: OTA_OK, or OTA_AGAIN when
 * a slice was done and more is to do.
 */
OTA_CHECKED enum ota_err ota_uploads_catch_up(struct ota_uploads *uploads,
                                              const struct ota_upload_row *row,
                                              struct ota_error *error);

/* Feeds the next bytes, after they were committed. The digests must have been caught up. */
void ota_uploads_feed(struct ota_uploads *uploads, int64_t upload, const void *bytes, size_t len);

/* The digests so far, in lower-case hex; the upload can still go on. */
OTA_CHECKED enum ota_err ota_uploads_digests(struct ota_uploads *uploads, int64_t upload, char *md5,
                                             char *sha256, struct ota_error *error);

/* Forgets the upload; fine where it isn't known. */
void ota_uploads_drop(struct ota_uploads *uploads, int64_t upload);

#endif
