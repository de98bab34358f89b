#include "stream/counts.h"

void
count_size_shared(enum size_histogram which, uint64_t len)
{
	bool shared;
	struct tally *tally = region_tally_get(&shared);

	count_add(&tally->count[which][size_bucket(len)], 1);
	if (!shared)
		self.tally = tally;
}
