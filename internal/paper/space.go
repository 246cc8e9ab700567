package paper

import (
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/types"
)

// space is what is known of a colour space, given by name or as an array.
func (d *document) space(o types.Object, resources types.Dict, depth int) *space {
	if depth > maxSpaces {
		return otherwise
	}
	switch o := d.resolve(o).(type) {
	case types.Name:
		return d.namedSpace(string(o), resources, depth)
	case types.Array:
		if len(o) > 0 {
			return d.arraySpace(d.name(o[0]), o, resources, depth)
		}
	}
	return otherwise
}

func (d *document) namedSpace(name string, resources types.Dict, depth int) *space {
	switch name {
	case "DeviceGray", "G", "CalGray":
		return graySpace
	case "DeviceRGB", "RGB", "CalRGB":
		return rgbSpace
	case "DeviceCMYK", "CMYK":
		return cmykSpace
	case "Pattern":
		return &space{gray: equal}
	}
	if named := d.dict(resources["ColorSpace"])[name]; named != nil {
		return d.space(named, resources, depth+1)
	}
	return otherwise
}

func (d *document) arraySpace(kind string, a types.Array, resources types.Dict, depth int) *space {
	item := func(i int) types.Object {
		if i < len(a) {
			return a[i]
		}
		return nil
	}
	switch kind {
	case "ICCBased":
		return d.profileSpace(item(1))
	case "Lab":
		return labSpace
	case "Indexed", "I":
		return d.paletteSpace(d.space(item(1), resources, depth+1), item(3))
	case "Separation":
		return spotSpace([]string{d.name(item(1))})
	case "DeviceN":
		names, _ := d.resolve(item(1)).(types.Array)
		spots := make([]string, len(names))
		for i, name := range names {
			spots[i] = d.name(name)
		}
		return spotSpace(spots)
	case "Pattern":
		if len(a) > 1 {
			return &space{gray: equal, base: d.space(item(1), resources, depth+1)}
		}
		return &space{gray: equal}
	}
	return d.namedSpace(kind, resources, depth+1)
}

// profileSpace goes by the number of a profile's components.
func (d *document) profileSpace(o types.Object) *space {
	n, _ := d.number(d.dict(o)["N"])
	switch n {
	case 1:
		return graySpace
	case 3:
		return rgbSpace
	case 4:
		return cmykSpace
	}
	return otherwise
}

// spotSpace has one component per ink. Black, the marks for all plates, and what
// is not printed at all are gray.
func spotSpace(inks []string) *space {
	colored := make([]bool, len(inks))
	some := false
	for i, ink := range inks {
		colored[i] = ink != "Black" && ink != "All" && ink != "None"
		some = some || colored[i]
	}
	return &space{colors: some, components: len(inks), gray: func(c []float64) bool {
		for i, v := range c {
			if i < len(colored) && colored[i] && v > grayEpsilon {
				return false
			}
		}
		return true
	}}
}

// paletteSpace is gray if all entries of its table are. A colour of it is an index
// into the table, so one of a coloured palette counts as coloured.
func (d *document) paletteSpace(base *space, table types.Object) *space {
	colored := &space{colors: true, components: 1, gray: func([]float64) bool { return false }}
	if !base.colors {
		return graySpace
	}
	entries := d.bytes(table)
	n := base.components
	if base == labSpace || n == 0 || len(entries) < n {
		return colored
	}
	c := make([]float64, n)
	for ; len(entries) >= n; entries = entries[n:] {
		for i := range c {
			c[i] = float64(entries[i]) / 255
		}
		if !base.gray(c) {
			return colored
		}
	}
	return graySpace
}

// bytes are those of a string or a stream.
func (d *document) bytes(o types.Object) []byte {
	switch o := d.resolve(o).(type) {
	case types.StringLiteral:
		b, err := types.Unescape(string(o))
		if err == nil {
			return b
		}
	case types.HexLiteral:
		b, err := o.Bytes()
		if err == nil {
			return b
		}
	case types.StreamDict:
		b, _ := d.decoded(o)
		return b
	}
	return nil
}
