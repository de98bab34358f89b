#!/bin/bash
# The floors of src/: a file includes only headers of its own floor or of those below, by their floor's name; and below
# interpose nobody but base/sys calls what the library hooks, allocates, uses stdio, ends the process, or knows errno.
# The command, cli, is none of them: it includes its own headers alone.
#
#   tests/layers.sh        prints FILE:LINE: what is wrong; exit status 1 if anything is
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ ! -d src ]]; then
	echo "layers: no src here" >&2
	exit 1
fi
# shellcheck disable=SC2016 # the dollars are perl's
find src -name '*.[chS]' -print0 | LC_ALL=C sort -z | xargs -0 perl -e '
use strict;
use warnings;

my @floors = qw(base count pool stream waits metrics interpose);
my %height = map { $floors[$_] => $_ } 0 .. $#floors;

# Calls nobody below interpose makes: the hooked names, and what would allocate, print or end the host.
my %banned = map { $_ => 1 } qw(
	malloc calloc realloc free strdup strndup asprintf vasprintf
	printf fprintf vfprintf vprintf puts putchar fputs fputc fwrite perror fopen fflush
	assert exit _exit abort getenv setenv signal sigprocmask
);
if (open(my $list, "<", "src/libweir.sym")) {
	while (<$list>) { chomp; $banned{$_} = 1 if length }
}

my $bad = 0;
sub wrong { my ($file, $line, $what) = @_; print "$file:$line: $what\n"; $bad = 1 }

for my $file (@ARGV) {
	my ($floor) = $file =~ m{^src/([^/]+)/} or next;
	if ($floor ne "cli" && !defined $height{$floor}) {
		wrong($file, 1, "no floor is called $floor");
		next;
	}
	open(my $in, "<", $file) or die "$file: $!\n";
	my $text = do { local $/; <$in> };

	my $line = 0;
	for (split /\n/, $text) {
		$line++;
		next unless /^\s*#\s*include\s*"([^"]+)"/;
		my ($other) = $1 =~ m{^([^/]+)/};
		if ($floor eq "cli") {
			wrong($file, $line, "cli includes \"$1\", but shares nothing with the library")
				if ($other // "") ne "cli";
		} elsif (!defined $other) {
			wrong($file, $line, "include \"$1\" does not name its floor");
		} elsif (!defined $height{$other}) {
			wrong($file, $line, "include \"$1\": no such floor");
		} elsif ($height{$other} > $height{$floor}) {
			wrong($file, $line, "$floor includes \"$1\" from a floor above it");
		}
	}

	next if $floor eq "interpose" || $floor eq "cli" || $file =~ m{^src/base/sys(_thread)?\.[ch]$} || $file =~ /\.S$/;
	# Comments and literals go, lines stay.
	$text =~ s{(/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\x27(?:\\.|[^\x27\\\n])*\x27)}
		{ my $gone = $1; $gone =~ s/[^\n]//g; " $gone" }gse;
	$line = 0;
	for (split /\n/, $text) {
		$line++;
		next if /^\s*#/;
		while (/(?<![\w.>])([A-Za-z_]\w*)\s*\(/g) {
			wrong($file, $line, "calls $1 below interpose") if $banned{$1};
		}
		wrong($file, $line, "errno below interpose") if /(?<![\w.>])errno\b/;
	}
}
exit $bad;
' || exit 1
