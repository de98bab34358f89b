#ifndef WEIR_METRICS_NAMES_H
#define WEIR_METRICS_NAMES_H
/* metrics/names: the words for the closed sets of count/region.h, the same in every format.
 * All constant. */
#include "count/region.h"
#include "metrics/snapshot.h"

extern const char *const way_names[NR_WAYS]; /* direction */
extern const char *const role_names[NR_ROLES];
extern const char *const family_names[NR_FAMILIES];
extern const char *const mode_names[NR_MODES];
extern const char *const flush_names[NR_FLUSHES];
extern const char *const bypass_names[NR_BYPASSES];
extern const char *const ending_names[NR_ENDINGS];
extern const char *const cause_names[NR_CAUSES];
extern const char *const discard_names[NR_DISCARDS];
extern const char *const internal_names[NR_INTERNALS];
extern const char *const operation_names[NR_OPS];
extern const char *const error_names[NR_ERRORS];
extern const char *const tier_names[NR_POOL_TIERS];
#endif
