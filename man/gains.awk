# The README's tables of gains, as `bench/run.sh gains` printed them, for libweir(8): ratios alone.

/^<!-- gains:begin -->/ { inside = 1 }
/^<!-- gains:end -->/ { inside = 0 }

inside && /^\|/ && !/^\|[-:|]*$/ {
	split($0, cell, / *\| */)
	nr++
	if (!table) {
		print ".Bd -literal"
		printf "%-50s %6s %4s %s\n", "", "gain", "CPU", "calls"
		table = 1
		next
	}
	sub(/ → /, ", ", cell[7])
	gsub(/`/, "", cell[2])
	row = sprintf("%-50s %6s %4s %s", cell[2], cell[5], cell[6], cell[7])
	gsub(/-/, "\\-", row)
	print row
	next
}
table && !/^\|/ {
	print ".Ed"
	print ".Pp"
	table = 0
}
inside && /^(Leave|Medians)/ {
	gsub(/[;,] /, "&\n")
	gsub(/ \n/, "\n")
	print
}
END { exit nr == 0 }
