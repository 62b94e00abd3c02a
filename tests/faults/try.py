import sys,time,tempfile,json,shutil
sys.path.insert(0,'/work/main/tests/faults')
from pathlib import Path
import fault_world as fw
from biso_tasks.demo import site
d=Path(tempfile.mkdtemp(prefix='fw-'))
def T(l,f):
    t=time.time(); r=f(); print('%-20s %.2f'%(l,time.time()-t),flush=True); return r
try:
    w=T('build',lambda: fw.build(d))
    T('reset',lambda:w.reset('again'))
    p=T('points',lambda:w.points('refresh-test','again'))
    print({k:len(v) for k,v in p.items()})
    for i,x in enumerate(p['swap']): print(i+1,x[:100])
    T('reset',lambda:w.reset('again'))
    r=T('kill',lambda:w.run(w.spec(scope='swap',call=8,side='after',act='kill'),'refresh-test','--yes','--json'))
    print(r.code,r.reached,r.stage,w.served_now(r))
    rr=T('recover',lambda:w.recover()); print(rr.code,rr.document.get('environments'),rr.err[-500:])
    print(T('check',lambda:w.check(r)))
    T('reset',lambda:w.reset('again'))
    p=T('points',lambda:w.points('rollback','again'))
    print({k:len(v) for k,v in p.items()})
finally:
    site.clean(d)
    shutil.rmtree(w.temp); shutil.rmtree(d)
