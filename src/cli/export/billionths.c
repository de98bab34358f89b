#include "cli/export/billionths.h"
#include "cli/text.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DECIMALS = 9 };

static bool
exponent_read(const char *word, __int128 *value)
{
	const long double most = 18446744073709551616.0L;
	long double number;
	char *end;

	/* strtold would take spaces, words and hexadecimals. */
	if (word[strspn(word, "0123456789.eE+-")])
		return false;
	number = strtold(word, &end);
	if (*end || !isfinite(number) || number >= most || number <= -most)
		return false;
	*value = (__int128)(number * 1e9L + (number < 0 ? -0.5L : 0.5L));
	return true;
}

bool
billionths_read(const char *word, __int128 *value)
{
	const __int128 most = (__int128)1 << 64;
	const char *s = word + (*word == '-' || *word == '+');
	__int128 number = 0;
	int decimals = 0;

	if (!isdigit((unsigned char)*s))
		return false;
	for (; isdigit((unsigned char)*s) && number < most; s++)
		number = number * 10 + (*s - '0');
	if (number >= most)
		return false;
	if (*s == '.')
		for (s++; isdigit((unsigned char)*s) && decimals < DECIMALS;
		     s++, decimals++)
			number = number * 10 + (*s - '0');
	/* More decimals than the library has, or an exponent. */
	if (*s)
		return exponent_read(word, value);
	for (; decimals < DECIMALS; decimals++)
		number *= 10;
	*value = *word == '-' ? -number : number;
	return true;
}

void
billionths_write(struct text *out, __int128 value)
{
	char digits[48], *at = digits + sizeof digits;
	__int128 left = value < 0 ? -value : value;
	int nr = 0;

	/* From the last digit; zeros behind the point are none. */
	for (*--at = '\0'; left || nr <= DECIMALS; left /= 10, nr++) {
		int digit = (int)(left % 10);

		if (nr == DECIMALS && *at)
			*--at = '.';
		if (digit || *at || nr >= DECIMALS)
			*--at = (char)('0' + digit);
	}
	text_add(out, "%s%s", value < 0 ? "-" : "", at);
}
