package commands_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/printing"
	"docket/domain/reporting"
	"docket/eventstore"
	"github.com/stretchr/testify/require"
)

// The JSON of events is stored for ever, so each event type and schema version
// has a golden file that is never changed: what it holds must stay readable. A
// new type or version gets its file by running this test with -update, which
// writes missing files only. A field may be added without a new version if it
// is left out of the JSON when empty.
var update = flag.Bool("update", false, "write the golden files that are missing")

const goldenDir = "../domain/testdata/events"

func allEvents() []domain.Event {
	return slices.Concat(commands.Events(), directory.Events(), reporting.Events(), printing.Events())
}

func goldenFile(eventType string, schema int) string {
	return filepath.Join(goldenDir, fmt.Sprintf("%s.v%d.json", eventType, schema))
}

func TestGoldenEvents(t *testing.T) {
	codec := eventstore.NewCodec(allEvents()...)
	for _, zero := range allEvents() {
		name := zero.EventType()
		t.Run(name, func(t *testing.T) {
			file := goldenFile(name, codec.Schema(name))
			golden, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) && *update {
				golden = write(t, codec, file, sample(zero))
			} else {
				require.NoError(t, err, "run the test with -update to write it")
			}
			var line bytes.Buffer
			require.NoError(t, json.Compact(&line, golden))
			e, err := codec.Decode(name, codec.Schema(name), line.Bytes())
			require.NoError(t, err)
			require.Equal(t, known(t, sample(zero), line.Bytes()), e, "the event no longer reads as it was written")
			again, err := codec.Encode(e)
			require.NoError(t, err)
			require.Equal(t, line.String(), string(again), "the event is no longer written as it was; it needs a new schema version and an upcast")
		})
	}
}

// TestOldGoldenEvents reads the files of all versions, also of types that are
// written no more: those must stay registered.
func TestOldGoldenEvents(t *testing.T) {
	codec := eventstore.NewCodec(allEvents()...)
	files, err := filepath.Glob(filepath.Join(goldenDir, "*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	form := regexp.MustCompile(`^(.+)\.v(\d+)\.json$`)
	for _, file := range files {
		parts := form.FindStringSubmatch(filepath.Base(file))
		require.NotNil(t, parts, "%s is no golden file", file)
		schema, err := strconv.Atoi(parts[2])
		require.NoError(t, err)
		require.LessOrEqual(t, schema, codec.Schema(parts[1]), file)
		golden, err := os.ReadFile(file)
		require.NoError(t, err)
		_, err = codec.Decode(parts[1], schema, golden)
		require.NoError(t, err, file)
	}
}

func write(t *testing.T, codec *eventstore.Codec, file string, e domain.Event) []byte {
	line, err := codec.Encode(e)
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, json.Indent(&text, line, "", "  "))
	text.WriteByte('\n')
	require.NoError(t, os.WriteFile(file, text.Bytes(), 0o644))
	return text.Bytes()
}

// sample is an event without a zero field. Each value follows from its field's
// name alone, so that a field added later leaves the others as they are.
func sample(zero domain.Event) domain.Event {
	v := reflect.New(reflect.TypeOf(zero)).Elem()
	fill(v, "")
	return v.Interface().(domain.Event)
}

func fill(v reflect.Value, path string) {
	number := crc32.ChecksumIEEE([]byte(path)) % 1_000_000
	switch v.Interface().(type) {
	case domain.ID:
		v.Set(reflect.ValueOf(domain.WellKnownID(number)))
		return
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2030, 1, 2, 3, 4, 5, int(number)*1000, time.UTC)))
		return
	case []byte:
		v.SetBytes([]byte(path))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(path + " <é>")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(number))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), path)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), path+"[0]")
		fill(v.Index(1), path+"[1]")
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."))
		}
	default:
		panic("no sample for " + v.Type().String())
	}
}

// known is the sample without the fields that came after the golden file was
// written. Such fields are left out of the JSON when empty.
func known(t *testing.T, e domain.Event, golden []byte) domain.Event {
	line, err := json.Marshal(e)
	require.NoError(t, err)
	line, err = json.Marshal(prune(parse(t, line), parse(t, golden)))
	require.NoError(t, err)
	v := reflect.New(reflect.TypeOf(e))
	require.NoError(t, json.Unmarshal(line, v.Interface()))
	return v.Elem().Interface().(domain.Event)
}

func parse(t *testing.T, data []byte) (v any) {
	require.NoError(t, json.Unmarshal(data, &v))
	return v
}

// prune takes from v the fields that keep does not have.
func prune(v, keep any) any {
	switch v := v.(type) {
	case map[string]any:
		fields, _ := keep.(map[string]any)
		for name := range v {
			if _, there := fields[name]; !there {
				delete(v, name)
			} else {
				v[name] = prune(v[name], fields[name])
			}
		}
	case []any:
		elements, _ := keep.([]any)
		for i := range v {
			if i < len(elements) {
				v[i] = prune(v[i], elements[i])
			}
		}
	}
	return v
}
