package change

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"

	"flask-on-fargate/internal/plaintext"
)

// Equal compares values as CloudFormation does: 20 and "20" are the same, and so are true and "true".
func Equal(a, b any) bool { return reflect.DeepEqual(canonical(a), canonical(b)) }

func canonical(value any) any {
	switch v := value.(type) {
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = canonical(item)
		}
		return list
	case map[string]any:
		mapping := make(map[string]any, len(v))
		for key, item := range v {
			mapping[key] = canonical(item)
		}
		return mapping
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return value
}

// shown is how many characters of a value are written.
const shown = 160

// Show writes a value of a template in short.
func Show(value any) string { return plaintext.Cut(textOf(value), shown+1) }

// ShowBoth writes two values in short. If one of them is long, the text starts a little before the first difference.
func ShowBoth(a, b any) (string, string) {
	const before = 40
	from, to := []rune(textOf(a)), []rune(textOf(b))
	same := 0
	for same < min(len(from), len(to)) && from[same] == to[same] {
		same++
	}
	skip, mark := same-before, "…"
	if max(len(from), len(to)) <= shown || skip <= 0 {
		skip, mark = 0, ""
	}
	return mark + Show(string(from[skip:])), mark + Show(string(to[skip:]))
}

func textOf(value any) string {
	if value == nil {
		return "(none)"
	}
	if text, ok := value.(string); ok {
		return text
	}
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(data)
}
