package paper

import (
	"fmt"
	"math"
)

// size is a paper by name, upright, in points.
type size struct {
	name          string
	width, height float64
}

const mm = 72 / 25.4

var sizes = []size{
	{"Letter", 612, 792}, {"Legal", 612, 1008}, {"Tabloid", 792, 1224}, {"Executive", 522, 756}, {"Statement", 396, 612}, {"Folio", 612, 936},
	{"A0", 841 * mm, 1189 * mm}, {"A1", 594 * mm, 841 * mm}, {"A2", 420 * mm, 594 * mm}, {"A3", 297 * mm, 420 * mm}, {"A4", 210 * mm, 297 * mm},
	{"A5", 148 * mm, 210 * mm}, {"A6", 105 * mm, 148 * mm}, {"B4", 250 * mm, 353 * mm}, {"B5", 176 * mm, 250 * mm},
	{"JIS-B4", 257 * mm, 364 * mm}, {"JIS-B5", 182 * mm, 257 * mm}, {"C5", 162 * mm, 229 * mm}, {"DL", 110 * mm, 220 * mm},
}

// tolerance is how far programs are off a size when they round, in points.
const tolerance = 3

func paperName(width, height float64) string {
	best, off := "", tolerance+1e-9
	for _, s := range sizes {
		if d := max(math.Abs(s.width-width), math.Abs(s.height-height)); d <= off {
			best, off = s.name, d
		}
	}
	if best != "" {
		return best
	}
	return fmt.Sprintf("%.0fx%.0f", width, height)
}
