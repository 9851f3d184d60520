// Package memo keeps values of the CDK library that never change and that many constructs use. Each new one is a call to the
// library's process, of some 0.3 ms.
package memo

// Func returns a function that calls make once for each key. Like the library, it is not safe for concurrent use.
func Func[K comparable, V any](make func(K) V) func(K) V {
	made := map[K]V{}
	return func(key K) V {
		value, ok := made[key]
		if !ok {
			value = make(key)
			made[key] = value
		}
		return value
	}
}
