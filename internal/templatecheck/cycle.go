package templatecheck

// Cycle returns the ids along a cycle of references and dependencies, or nil.
func Cycle(env Templates) []string {
	const (
		unseen = iota
		open
		done
	)
	state := map[string]int{}
	var path []string
	var visit func(id string) []string
	visit = func(id string) []string {
		path = append(path, id)
		switch state[id] {
		case done:
			path = path[:len(path)-1]
			return nil
		case open:
			return path
		}
		state[id] = open
		r := env.Resources[id]
		for _, next := range append(References(r.Properties), r.DependsOn...) {
			if cycle := visit(next); cycle != nil {
				return cycle
			}
		}
		state[id] = done
		path = path[:len(path)-1]
		return nil
	}
	for id := range env.Resources {
		if cycle := visit(id); cycle != nil {
			return cycle
		}
	}
	return nil
}
